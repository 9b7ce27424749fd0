import type { BigIntStats, Stats } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import type {
  Archive,
  ArchiveFormat,
  ArchivePart,
  ByteRange,
  FileFacts,
  FileKind,
  FilePath,
  FileTrees,
  ListBatch,
  ListOptions,
  OpenedFile,
} from '#commands/file-tree-ports.ts';
import { PiecePool } from '#commands/piece-pool.ts';
import { Running } from '#commands/running.ts';
import { DomainError } from '#domain/errors.ts';
import { archiveEntries, type OpenPart } from './archive-entries.ts';
import { blockBytes } from './deflate.ts';
import { openHeld } from './descriptors.ts';
import type { Directory } from './directory.ts';
import { gzipOf } from './gzip.ts';
import { type RawName, rawOf, textOf } from './names.ts';
import { readPieces } from './read.ts';
import { refusalOf } from './refusals.ts';
import { type Resolved, readLink, resolve, stepsOf } from './resolve.ts';
import { tarOf } from './tar.ts';
import { Unreadable } from './unreadable.ts';
import { type WalkedBatch, walk } from './walk.ts';
import { zipOf } from './zip.ts';

// What RFC 3339 can tell. A filesystem may hold any 64 bits.
const earliestMs = Date.parse('0001-01-01T00:00:00.000Z');
const latestMs = Date.parse('9999-12-31T23:59:59.999Z');

const timeOf = (ms: number): string => new Date(Math.min(Math.max(ms, earliestMs), latestMs)).toISOString();

const kindOf = (stats: Stats | BigIntStats): FileKind => {
  if (stats.isDirectory()) return 'directory';
  if (stats.isFile()) return 'file';
  return stats.isSymbolicLink() ? 'symlink' : 'other';
};

const factsOf = (path: RawName, stats: Stats | BigIntStats, target: RawName | undefined): FileFacts => {
  const kind = kindOf(stats);
  const facts: FileFacts = {
    path: textOf(path),
    kind,
    sizeBytes: kind === 'file' || kind === 'symlink' ? Number(stats.size) : 0,
    mode: Number(stats.mode) & 0o777,
    modifiedAt: timeOf(Number(stats.mtimeMs)),
  };
  return target === undefined ? facts : { ...facts, linkTarget: textOf(target) };
};

const batchOf = async ({ directory, entries }: WalkedBatch): Promise<ListBatch> => {
  const facts = await Promise.all(
    entries.map(async ({ name, path, stats }) => {
      if (!stats) return [];
      if (!stats.isSymbolicLink()) return factsOf(path, stats, undefined);
      // A link that cannot be read is still one.
      return factsOf(path, stats, await readLink(directory, name).catch(() => undefined));
    }),
  );
  const readable = facts.flat();
  return { entries: readable, unreadable: entries.length - readable.length };
};

const listOf = async function* (directory: Directory, options: ListOptions): AsyncGenerator<ListBatch> {
  const { recursive, signal, after = '' } = options;
  try {
    const batches = walk(directory.hold(), { recursive, after: stepsOf(rawOf(after)), signal });
    for await (const batch of batches) yield await batchOf(batch);
  } catch (error) {
    throw signal.aborted ? error : refusalOf(error);
  }
};

const notADirectory = (): DomainError =>
  new DomainError('not-a-directory', 'This is not a folder. Download it as a file instead.');

const notAFile = (): DomainError =>
  new DomainError('not-a-file', 'This is a device, a FIFO or a socket: it has no content that could be downloaded.');

type Reading = Readonly<{ pool: PiecePool; signal: AbortSignal }>;

/** Keeps what a path led to. */
class Opened implements OpenedFile {
  readonly facts: FileFacts;
  readonly version: string;
  readonly #found: Resolved;
  readonly #running = new Running();
  #reading: Promise<FileHandle> | undefined;
  #closed: Promise<void> | undefined;

  constructor(found: Resolved) {
    this.#found = found;
    const { stats } = found;
    this.facts = factsOf('', stats, found.kind === 'symlink' ? found.target : undefined);
    this.version = `${stats.ino}-${stats.size}-${stats.mtimeNs}-${stats.ctimeNs}`;
  }

  list(options: ListOptions): AsyncIterable<ListBatch> {
    if (this.#found.kind !== 'directory') throw notADirectory();
    return this.#running.track(listOf(this.#found.directory, options));
  }

  read(range: ByteRange, pool: PiecePool, signal: AbortSignal): AsyncIterable<Uint8Array> {
    if (this.#found.kind !== 'file') throw notAFile();
    return this.#running.track(this.#pieces(this.#found.handle, range, { pool, signal }));
  }

  async *#pieces(handle: FileHandle, { start, end }: ByteRange, reading: Reading): AsyncGenerator<Uint8Array> {
    let missing = end - start + 1;
    try {
      this.#reading ??= openHeld(handle);
      for await (const piece of readPieces(await this.#reading, { start, length: missing, ...reading })) {
        missing -= piece.length;
        yield piece;
      }
    } catch (error) {
      throw reading.signal.aborted ? error : refusalOf(error);
    }
    if (missing > 0) throw new DomainError('file-unreadable', 'The file ends before its size says so.');
  }

  close(): Promise<void> {
    this.#closed ??= this.#closeAll();
    return this.#closed;
  }

  async #closeAll(): Promise<void> {
    await this.#running.ended();
    const found = this.#found;
    const reading = await this.#reading?.catch(() => undefined);
    await reading?.close();
    if (found.kind === 'directory') await found.directory.release();
    else if (found.kind !== 'symlink') await found.handle.close();
  }
}

const openPart = async ({ prefix, root, path }: ArchivePart): Promise<OpenPart> => {
  const found = await resolve(root, path.map(rawOf), { followLast: true });
  if (found.kind === 'directory') return { prefix: rawOf(prefix), directory: found.directory };
  if (found.kind !== 'symlink') await found.handle.close();
  throw notADirectory();
};

const release = async (parts: readonly OpenPart[]): Promise<void> => {
  for (const { directory } of parts) await directory.release();
};

const openParts = async (parts: readonly ArchivePart[]): Promise<readonly OpenPart[]> => {
  const open: OpenPart[] = [];
  try {
    for (const part of parts) open.push(await openPart(part));
    return open;
  } catch (error) {
    await release(open);
    throw error;
  }
};

const openArchive = async (
  parts: readonly ArchivePart[],
  format: ArchiveFormat,
  signal: AbortSignal,
): Promise<Archive> => {
  const open = await openParts(parts);
  const unreadable = new Unreadable();
  let files = 0;
  const onFile = (): void => {
    files += 1;
  };
  const pool = new PiecePool(blockBytes, Buffer.allocUnsafeSlow);
  const options = { unreadable, signal, onFile, pool };
  const entries = archiveEntries(open, options);
  const running = new Running();
  let closed: Promise<void> | undefined;
  return {
    body: running.track(format === 'zip' ? zipOf(entries, options) : gzipOf(tarOf(entries, options), pool)),
    counts: () => ({ files, unreadable: unreadable.count }),
    close: () => {
      closed ??= running.ended().then(() => release(open));
      return closed;
    },
  };
};

const open = async (root: string, path: FilePath, options: Readonly<{ followLast: boolean }>): Promise<OpenedFile> =>
  new Opened(await resolve(root, path.map(rawOf), options));

export const createFileTrees = (): FileTrees => ({ open, archive: openArchive });
