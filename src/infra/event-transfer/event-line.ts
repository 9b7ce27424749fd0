import { isUtf8 } from 'node:buffer';
import { jsonContent, type StoredEvent } from './stored-event.ts';

const newline = 0x0a;
const carriageReturn = 0x0d;

/** JSON that can stand in a line as it is, so that other programs can read it and the very same bytes come out again. */
const fitsInLine = (bytes: Uint8Array): boolean => {
  if (bytes.length === 0 || bytes.includes(newline) || bytes.includes(carriageReturn) || !isUtf8(bytes)) return false;
  try {
    JSON.parse(Buffer.from(bytes).toString('utf8'));
    return true;
  } catch {
    return false; // whatever a client stored under the name of JSON
  }
};

type Member = Readonly<{ key: Buffer; value: Uint8Array }>;

const keyOf = (name: string): string => `,"${name}":`;

const memberOf = (name: string, bytes: Uint8Array, mayBeJson: boolean): Member =>
  mayBeJson && fitsInLine(bytes)
    ? { key: Buffer.from(keyOf(name)), value: bytes }
    : {
        key: Buffer.from(keyOf(`${name}Base64`)),
        value: Buffer.from(`"${Buffer.from(bytes).toString('base64')}"`),
      };

/**
 * One line of JSON, with its newline. `bytes` tells how long the values of metadata and data are in it, so that they can be
 * cut out as they were stored: a parser would change numbers beyond 2^53. What is not JSON, or holds line breaks, stands
 * there in base64.
 */
export const encodeLine = (event: StoredEvent): Buffer => {
  const metadata = memberOf('metadata', event.metadata, true);
  const data = memberOf('data', event.data, event.contentType === jsonContent);
  const { stream, type, id, created, contentType } = event;
  const place = { revision: String(event.revision), position: String(event.position) };
  const bytes = [metadata.value.length, data.value.length];
  const head = JSON.stringify({ stream, ...place, type, id, created, contentType, bytes });
  return Buffer.concat([
    Buffer.from(head.slice(0, -1)),
    ...[metadata.key, metadata.value, data.key, data.value],
    Buffer.from('}\n'),
  ]);
};

type Parsed = Readonly<Record<string, unknown>>;

const textOf = (line: Parsed, name: string): string => {
  const value = line[name];
  if (typeof value === 'string') return value;
  throw new Error(`an event without ${name}`);
};

const lengthOf = ({ bytes }: Parsed, index: number): number => {
  const value: unknown = Array.isArray(bytes) ? bytes[index] : undefined;
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  throw new Error('an event without the lengths of its parts');
};

/** The value that ends at `end`, and where its key begins. */
const cutOut = (line: Buffer, parsed: Parsed, { name, end, length }: { name: string; end: number; length: number }) => {
  const isBase64 = Object.hasOwn(parsed, `${name}Base64`);
  const key = keyOf(isBase64 ? `${name}Base64` : name);
  const from = end - length;
  if (line.toString('latin1', from - key.length, from) !== key) throw new Error(`the lengths in an event are wrong`);
  const value = isBase64 ? Buffer.from(textOf(parsed, `${name}Base64`), 'base64') : line.subarray(from, end);
  return { value, keyAt: from - key.length };
};

/** `line` without its newline. Throws for what `encodeLine` did not write. */
export const decodeLine = (line: Buffer): StoredEvent => {
  const parsed = JSON.parse(line.toString('utf8')) as Parsed;
  const data = cutOut(line, parsed, { name: 'data', end: line.length - 1, length: lengthOf(parsed, 1) });
  const metadata = cutOut(line, parsed, { name: 'metadata', end: data.keyAt, length: lengthOf(parsed, 0) });
  return {
    ...{ stream: textOf(parsed, 'stream'), type: textOf(parsed, 'type'), id: textOf(parsed, 'id') },
    ...{ revision: BigInt(textOf(parsed, 'revision')), position: BigInt(textOf(parsed, 'position')) },
    ...{ created: textOf(parsed, 'created'), contentType: textOf(parsed, 'contentType') },
    ...{ metadata: metadata.value, data: data.value },
  };
};
