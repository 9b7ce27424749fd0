import { createHash } from 'node:crypto';
import { z } from 'zod';
import { type Block, EventFileDamaged, readBlocks } from './blocks.ts';
import { decodeLine } from './event-line.ts';
import type { EventRef, StoredEvent } from './stored-event.ts';

const formatVersion = 1;

const Ref = z.object({ stream: z.string(), revision: z.string(), position: z.string(), id: z.string() });

const Header = z.object({
  format: z.literal('sendense-events'),
  version: z.number().int(),
  createdAt: z.string(),
  /** Whose log it is; never with credentials. */
  source: z.string(),
  /** Events from this position on; absent: all. */
  from: z.string().optional(),
  /** The newest event before that; absent: there is none. Whoever imports the file must have it. */
  after: Ref.optional(),
});

const Trailer = z.object({
  end: z.literal(true),
  events: z.number().int().nonnegative(),
  first: Ref.optional(),
  last: Ref.optional(),
  /** Of all lines before this one, as they are without compression. */
  sha256: z.string(),
});

export type EventFileHeader = Readonly<{
  createdAt: string;
  source: string;
  from?: bigint;
  after?: EventRef;
}>;

export type EventFileTrailer = Readonly<{ events: number; first?: EventRef; last?: EventRef; sha256: string }>;

export type EventFilePart =
  | Readonly<{ kind: 'header'; header: EventFileHeader; block: Block }>
  | Readonly<{ kind: 'events'; events: readonly StoredEvent[]; block: Block }>
  | Readonly<{
      kind: 'trailer';
      trailer: EventFileTrailer;
      /** Of the last block, in hex: it stands for the whole file. */
      hash: string;
    }>;

const refText = ({ stream, revision, position, id }: EventRef) => ({
  ...{ stream, id, revision: String(revision), position: String(position) },
});

const refOfText = ({ stream, revision, position, id }: z.output<typeof Ref>): EventRef => ({
  ...{ stream, id, revision: BigInt(revision), position: BigInt(position) },
});

const optional = <Name extends string, From, To>(name: Name, value: From | undefined, map: (value: From) => To) =>
  (value === undefined ? {} : { [name]: map(value) }) as Partial<Record<Name, To>>;

export const headerLine = ({ createdAt, source, from, after }: EventFileHeader): Buffer => {
  const range = { ...optional('from', from, String), ...optional('after', after, refText) };
  return Buffer.from(
    `${JSON.stringify({ format: 'sendense-events', version: formatVersion, createdAt, source, ...range })}\n`,
  );
};

export const trailerLine = ({ events, first, last, sha256 }: EventFileTrailer): Buffer => {
  const ends = { ...optional('first', first, refText), ...optional('last', last, refText) };
  return Buffer.from(`${JSON.stringify({ end: true, events, ...ends, sha256 })}\n`);
};

const parseLine = <T>(schema: z.ZodType<T>, { text }: Block, path: string, what: string): T => {
  try {
    return schema.parse(JSON.parse(text.toString('utf8')));
  } catch (cause) {
    throw new EventFileDamaged(path, `its ${what} cannot be read`, { cause });
  }
};

const readHeader = (block: Block, path: string): EventFileHeader => {
  const { version, createdAt, source, from, after } = parseLine(Header, block, path, 'header');
  if (version !== formatVersion) {
    throw new Error(`${path} has version ${version} of the format; this program reads version ${formatVersion}.`);
  }
  return { createdAt, source, ...optional('from', from, BigInt), ...optional('after', after, refOfText) };
};

const readTrailer = (block: Block, path: string): EventFileTrailer => {
  const { events, first, last, sha256 } = parseLine(Trailer, block, path, 'trailer');
  return { events, sha256, ...optional('first', first, refOfText), ...optional('last', last, refOfText) };
};

const eventsOf = ({ text, index, eventCount }: Block, path: string): readonly StoredEvent[] => {
  const events: StoredEvent[] = [];
  try {
    for (let from = 0; from < text.length; ) {
      const to = text.indexOf(0x0a, from);
      events.push(decodeLine(text.subarray(from, to)));
      from = to + 1;
    }
  } catch (cause) {
    throw new EventFileDamaged(path, `an event in block ${index} cannot be read`, { cause });
  }
  if (events.length !== eventCount) throw new EventFileDamaged(path, `block ${index} lacks events`);
  return events;
};

/** Header and events as far as the file goes, without asking for its end: what an export that was broken off left. */
export async function* readUnfinished(path: string): AsyncIterable<EventFilePart> {
  for await (const block of readBlocks(path)) {
    if ((block.kind === 'header') !== (block.index === 0)) throw new EventFileDamaged(path, 'its header is misplaced');
    if (block.kind === 'header') yield { kind: 'header', header: readHeader(block, path), block };
    else if (block.kind === 'events') yield { kind: 'events', events: eventsOf(block, path), block };
    else yield { kind: 'trailer', trailer: readTrailer(block, path), hash: block.hash.toString('hex') };
  }
}

/**
 * A finished file, in parts that were checked before they are handed out; at its end the whole is compared with the
 * trailer. Throws `EventFileDamaged`.
 */
export async function* readEventFile(path: string): AsyncIterable<EventFilePart> {
  const sha = createHash('sha256');
  let events = 0;
  let trailer: EventFileTrailer | undefined;
  let hash = '';
  for await (const block of readBlocks(path)) {
    if ((block.kind === 'header') !== (block.index === 0)) throw new EventFileDamaged(path, 'its header is misplaced');
    if (trailer) throw new EventFileDamaged(path, 'something follows its trailer');
    if (block.kind === 'trailer') {
      trailer = readTrailer(block, path);
      hash = block.hash.toString('hex');
      continue;
    }
    sha.update(block.text);
    events += block.eventCount;
    if (block.kind === 'header') yield { kind: 'header', header: readHeader(block, path), block };
    else yield { kind: 'events', events: eventsOf(block, path), block };
  }
  if (!trailer) throw new EventFileDamaged(path, 'it ends before its trailer: it is cut, or its export never finished');
  if (trailer.events !== events || trailer.sha256 !== sha.digest('hex')) {
    throw new EventFileDamaged(path, 'its events are not those that its trailer tells of');
  }
  yield { kind: 'trailer', trailer, hash };
}
