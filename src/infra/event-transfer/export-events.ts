import { createHash, type Hash } from 'node:crypto';
import { access, type FileHandle, open, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { EventStoreDBClient } from '@eventstore/db-client';
import { errnoOf, syncDirectory } from '../durable-file.ts';
import { findMark } from '../event-store/log-identity.ts';
import { type BlockKind, EventFileDamaged, encodeBlock, firstHash } from './blocks.ts';
import { type EventFileHeader, type EventFileTrailer, headerLine, readUnfinished, trailerLine } from './event-file.ts';
import { encodeLine } from './event-line.ts';
import { type Cursor, newestBefore, readHistory } from './log-reader.ts';
import { type EventRef, refOf, type StoredEvent } from './stored-event.ts';

export type ExportOptions = Readonly<{
  client: EventStoreDBClient;
  path: string;
  /** Whose log it is, for people; without credentials. */
  source: string;
  /** First position; default: the beginning. */
  from?: bigint;
  /** Instead of a position: the event that a file before this one ended with. */
  after?: EventRef;
  now: () => string;
  onProgress?: (progress: Readonly<{ events: number; position: bigint; head: bigint }>) => void;
}>;

export type ExportResult = Readonly<
  EventFileTrailer & {
    path: string;
    sizeBytes: number;
    resumed: boolean;
    /** Of its last block, in hex: it stands for the whole file. */
    hash: string;
  }
>;

/** What the operator can mend; told in its sentence. */
export class ExportRefused extends Error {
  override readonly name = 'ExportRefused';
}

const blockBytes = 1024 * 1024;

export const partialPathOf = (path: string): string => `${path}.partial`;

/** What a file holds so far; `hash` and `sha` go on from there. */
type Written = {
  sizeBytes: number;
  events: number;
  first?: EventRef;
  last?: EventRef;
  hash: Buffer;
  readonly sha: Hash;
};

const nothing = (): Written => ({ sizeBytes: 0, events: 0, hash: firstHash, sha: createHash('sha256') });

const note = (written: Written, events: readonly StoredEvent[]): void => {
  const [first, last] = [events[0], events.at(-1)];
  if (!first || !last) return;
  written.first ??= refOf(first);
  written.last = refOf(last);
  written.events += events.length;
};

/** Up to its first damage: the end of what a crash cut off is made again. */
const inspectPartial = async (path: string): Promise<Readonly<{ header?: EventFileHeader; written: Written }>> => {
  const written = nothing();
  let header: EventFileHeader | undefined;
  try {
    for await (const part of readUnfinished(path)) {
      if (part.kind === 'trailer') break;
      if (part.kind === 'header') header = part.header;
      else note(written, part.events);
      Object.assign(written, { sizeBytes: part.block.endBytes, hash: part.block.hash });
      written.sha.update(part.block.text);
    }
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT' && !(error instanceof EventFileDamaged)) throw error;
  }
  return header ? { header, written } : { written: nothing() };
};

const isFile = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

class BlockWriter {
  readonly #file: FileHandle;
  readonly #written: Written;
  #lines: Buffer[] = [];
  #events: StoredEvent[] = [];
  #lineBytes = 0;

  constructor(file: FileHandle, written: Written) {
    this.#file = file;
    this.#written = written;
  }

  async add(event: StoredEvent): Promise<void> {
    const line = encodeLine(event);
    this.#lines.push(line);
    this.#events.push(event);
    this.#lineBytes += line.length;
    if (this.#lineBytes >= blockBytes) await this.flush();
  }

  async flush(): Promise<void> {
    if (this.#lines.length === 0) return;
    const [text, events] = [Buffer.concat(this.#lines), this.#events];
    [this.#lines, this.#events, this.#lineBytes] = [[], [], 0];
    await this.write('events', text, events);
  }

  async write(kind: BlockKind, text: Buffer, events: readonly StoredEvent[] = []): Promise<void> {
    const written = this.#written;
    const { bytes, hash } = await encodeBlock({ kind, eventCount: events.length, text }, written.hash);
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await this.#file.write(bytes, done, bytes.length - done, written.sizeBytes + done);
      done += bytesWritten;
    }
    if (kind !== 'trailer') written.sha.update(text);
    Object.assign(written, { sizeBytes: written.sizeBytes + bytes.length, hash });
    note(written, events);
  }
}

/** What is there must be of the same log and range. */
const assertSame = async (
  { client, path, from, after }: ExportOptions,
  header: EventFileHeader,
  { last }: Written,
): Promise<void> => {
  const partial = partialPathOf(path);
  if (header.from !== from || (after && header.after?.id !== after.id)) {
    throw new ExportRefused(
      `${partial} was begun for other events (from ${header.from ?? 'the beginning'}). Continue with the same --from, or remove it.`,
    );
  }
  if (!last) return;
  const found = await findMark(client, last);
  if (found !== 'there' && found !== 'removed') {
    throw new ExportRefused(`${partial} was begun from another event store. Remove it, or choose another file.`);
  }
};

const exportInto = async (
  file: FileHandle,
  options: ExportOptions,
  { header, written }: Readonly<{ header?: EventFileHeader; written: Written }>,
  signal?: AbortSignal,
): Promise<EventFileTrailer> => {
  const { client, from, source, now, onProgress } = options;
  const newest = await newestBefore(client, 'end');
  const writer = new BlockWriter(file, written);
  if (!header) {
    const before = options.after ?? (from === undefined ? undefined : await newestBefore(client, from));
    const range = { ...(from !== undefined && { from }), ...(before && { after: refOf(before) }) };
    await writer.write('header', headerLine({ createdAt: now(), source, ...range }));
  }
  const begin: Cursor | undefined = from === undefined ? undefined : { position: from, inclusive: true };
  const last = written.last ?? options.after;
  const cursor: Cursor | undefined = last ? { position: last.position, inclusive: false } : begin;
  const head = newest?.position ?? -1n;
  let events = written.events;
  for await (const event of readHistory(client, { cursor, to: head }, signal)) {
    await writer.add(event);
    events += 1;
    if (events % 500 === 0) onProgress?.({ events, position: event.position, head });
  }
  await writer.flush();
  const ends = { ...(written.first && { first: written.first }), ...(written.last && { last: written.last }) };
  const trailer = { events: written.events, ...ends, sha256: written.sha.copy().digest('hex') };
  await writer.write('trailer', trailerLine(trailer));
  onProgress?.({ events, position: head, head });
  return trailer;
};

/**
 * Writes the history up to its newest event into `<path>.partial`, which becomes `path` once it is complete and flushed.
 * What a broken-off export left is gone on with. Holds one block in memory.
 */
export const exportEvents = async (options: ExportOptions, signal?: AbortSignal): Promise<ExportResult> => {
  const { path } = options;
  if (await isFile(path)) throw new ExportRefused(`${path} exists already. Choose another file, or remove it.`);
  const partial = await inspectPartial(partialPathOf(path));
  if (partial.header) await assertSame(options, partial.header, partial.written);
  let trailer: EventFileTrailer;
  {
    await using file = await open(partialPathOf(path), partial.header ? 'r+' : 'w', 0o600);
    await file.chmod(0o600);
    await file.truncate(partial.written.sizeBytes);
    trailer = await exportInto(file, options, partial, signal);
    await file.sync();
  }
  await rename(partialPathOf(path), path);
  await syncDirectory(dirname(path));
  const { sizeBytes, hash } = partial.written;
  return { ...trailer, path, sizeBytes, hash: hash.toString('hex'), resumed: partial.header !== undefined };
};
