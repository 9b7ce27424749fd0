import type { Attributes } from './archive-entries.ts';
import { bytesOf, type RawName } from './names.ts';

/*
 * ustar, with what GNU tar adds for long names and big numbers (any bytes are a name to it; pax wants UTF-8), and a pax record for
 * the fraction of the time. GNU tar, bsdtar, Python and 7-Zip read it.
 */

export const recordBytes = 512;

/** Type flags of the headers. */
export const tarTypes = {
  file: '0',
  hardLink: '1',
  symlink: '2',
  directory: '5',
  longName: 'L',
  longLink: 'K',
  pax: 'x',
};

type Header = Readonly<{
  path: Buffer;
  type: string;
  sizeBytes: number;
  linkTarget: Buffer;
  mode: number;
  userId: number;
  groupId: number;
  modifiedSeconds: bigint;
}>;

const longestName = 100;
const none = Buffer.alloc(0);

/** Octal digits, or GNU's base 256 for what does not fit in them or is negative. */
const setNumber = (record: Buffer, at: number, length: number, value: bigint): void => {
  const digits = value.toString(8);
  if (value >= 0n && digits.length < length) {
    record.write(digits.padStart(length - 1, '0'), at, 'latin1');
    return;
  }
  let rest = BigInt.asUintN(8 * length - 1, value);
  for (let index = at + length - 1; index >= at; index -= 1) {
    record[index] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  record[at] = (record[at] ?? 0) | 0x80;
};

const headerOf = (header: Header): Buffer => {
  const record = Buffer.alloc(recordBytes);
  header.path.copy(record, 0, 0, longestName);
  setNumber(record, 100, 8, BigInt(header.mode));
  setNumber(record, 108, 8, BigInt(header.userId));
  setNumber(record, 116, 8, BigInt(header.groupId));
  setNumber(record, 124, 12, BigInt(header.sizeBytes));
  setNumber(record, 136, 12, header.modifiedSeconds);
  record.write(' '.repeat(8), 148, 'latin1');
  record.write(header.type, 156, 'latin1');
  header.linkTarget.copy(record, 157, 0, longestName);
  record.write('ustar\x0000', 257, 'latin1');
  const sum = record.reduce((total, byte) => total + byte, 0);
  record.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return record;
};

export const paddingOf = (sizeBytes: number): Buffer =>
  Buffer.alloc((recordBytes - (sizeBytes % recordBytes)) % recordBytes);

const plain = { linkTarget: none, mode: 0o644, userId: 0, groupId: 0, modifiedSeconds: 0n };

/** A header whose content tells something about the entry behind it. */
const extension = (type: string, name: string, content: Buffer): Buffer =>
  Buffer.concat([
    headerOf({ ...plain, path: Buffer.from(name), type, sizeBytes: content.length }),
    content,
    paddingOf(content.length),
  ]);

const longText = (type: string, text: Buffer): Buffer =>
  text.length <= longestName ? none : extension(type, '././@LongLink', Buffer.concat([text, Buffer.alloc(1)]));

/** Its length counts itself. */
const paxRecord = (text: string): string => {
  const rest = ` ${text}\n`;
  let length = rest.length;
  while (`${length}`.length + rest.length !== length) length = `${length}`.length + rest.length;
  return `${length}${rest}`;
};

const billion = 1_000_000_000n;

const fractionOfTime = (modifiedNs: bigint): Buffer => {
  const fraction = ((modifiedNs % billion) + billion) % billion;
  // Before 1970 the digits behind the point would count backwards, which not every reader knows.
  if (fraction === 0n || modifiedNs < 0n) return none;
  const time = `${modifiedNs / billion}.${`${fraction}`.padStart(9, '0')}`;
  return extension(tarTypes.pax, '././@PaxHeader', Buffer.from(paxRecord(`mtime=${time}`)));
};

const floorSeconds = (ns: bigint): bigint => (ns >= 0n || ns % billion === 0n ? ns / billion : ns / billion - 1n);

export type TarEntry = Readonly<{
  path: RawName;
  type: string;
  attributes: Attributes;
  sizeBytes?: number;
  linkTarget?: RawName;
}>;

/** Everything in front of an entry's content. */
export const entryHeader = ({ path, type, attributes, sizeBytes = 0, linkTarget = '' }: TarEntry): Buffer => {
  const name = bytesOf(path);
  const link = bytesOf(linkTarget);
  const { mode, userId, groupId, modifiedNs } = attributes;
  const modifiedSeconds = floorSeconds(modifiedNs);
  return Buffer.concat([
    fractionOfTime(modifiedNs),
    longText(tarTypes.longLink, link),
    longText(tarTypes.longName, name),
    headerOf({ path: name, type, sizeBytes, linkTarget: link, mode, userId, groupId, modifiedSeconds }),
  ]);
};

/** Two empty records. */
export const archiveEnd: Buffer = Buffer.alloc(2 * recordBytes);
