import type { BigIntStats } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import type { PiecePool } from '#commands/piece-pool.ts';
import { openHeld } from './descriptors.ts';
import type { Directory } from './directory.ts';
import { inOrder } from './in-order.ts';
import type { RawName } from './names.ts';
import { readAt, readPieces } from './read.ts';
import { codeOf } from './refusals.ts';
import { readLink } from './resolve.ts';
import type { Unreadable } from './unreadable.ts';
import { type WalkedEntry, walk } from './walk.ts';

export type Attributes = Readonly<{
  /** Permissions, setuid and the like. */
  mode: number;
  modifiedNs: bigint;
  userId: number;
  groupId: number;
  /** The same for all names of one file; undefined for a file that has only one. */
  sharedAs: string | undefined;
}>;

type Common = Readonly<{ path: RawName; attributes: Attributes }>;

/** A file with its beginning: with all of it when it fits into a block, which most do. */
export type FileEntry = Common &
  Readonly<{ kind: 'file'; sizeBytes: number; first: Uint8Array; rest: FileHandle | undefined }>;

export type ArchiveEntry =
  | FileEntry
  | (Common & Readonly<{ kind: 'directory' }>)
  | (Common & Readonly<{ kind: 'symlink'; target: RawName }>)
  | Readonly<{ kind: 'unreadable'; path: RawName; problem: string }>
  /** Devices, FIFOs and sockets, which hold nothing. */
  | Readonly<{ kind: 'other'; path: RawName }>;

/** What all that takes part in making an archive shares. */
export type ArchiveOptions = Readonly<{
  unreadable: Unreadable;
  signal: AbortSignal;
  onFile: () => void;
  /** Its pieces are as long as a block that is packed. */
  pool: PiecePool;
}>;

/** How many files are opened and begun ahead of the one that is being written. */
const begunAtOnce = 4;

const attributesOf = ({ mode, mtimeNs, uid, gid, nlink, dev, ino }: BigIntStats): Attributes => ({
  ...{ mode: Number(mode) & 0o7777, modifiedNs: mtimeNs, userId: Number(uid), groupId: Number(gid) },
  sharedAs: nlink > 1n ? `${dev}:${ino}` : undefined,
});

type Held = Common & Readonly<{ handle: FileHandle; sizeBytes: number; pool: PiecePool }>;

const openFile = async ({ path, attributes, handle, sizeBytes, pool }: Held): Promise<FileEntry> => {
  const file = await openHeld(handle);
  try {
    const first = await readAt(file, pool.take(Math.min(pool.pieceBytes, sizeBytes)), 0);
    const whole = first.length === sizeBytes;
    if (whole) await file.close();
    return { kind: 'file', path, attributes, sizeBytes, first, rest: whole ? undefined : file };
  } catch (error) {
    await file.close();
    throw error;
  }
};

type Wanted = Readonly<{ directory: Directory; name: RawName; path: RawName; pool: PiecePool }>;

const openEntry = async ({ directory, name, path, pool }: Wanted): Promise<ArchiveEntry> => {
  const { handle, stats } = await directory.child(name);
  try {
    const attributes = attributesOf(stats);
    if (stats.isFile()) return await openFile({ path, attributes, handle, sizeBytes: Number(stats.size), pool });
    if (stats.isDirectory()) return { kind: 'directory', path, attributes };
    if (!stats.isSymbolicLink()) return { kind: 'other', path };
    return { kind: 'symlink', path, attributes, target: await readLink(directory, name) };
  } finally {
    await handle.close();
  }
};

type Found = Readonly<{ directory: Directory; entry: WalkedEntry; prefix: RawName }>;

const begin = async ({ directory, entry, prefix }: Found, pool: PiecePool): Promise<ArchiveEntry> => {
  const path = `${prefix}${entry.path}`;
  if (!entry.stats) return { kind: 'unreadable', path, problem: entry.problem ?? '' };
  directory.hold(); // the walk may leave it before this is done
  try {
    return await openEntry({ directory, name: entry.name, path, pool });
  } catch (error) {
    return { kind: 'unreadable', path, problem: codeOf(error) };
  } finally {
    await directory.release();
  }
};

export type OpenPart = Readonly<{ prefix: RawName; directory: Directory }>;

const find = async function* (parts: readonly OpenPart[], signal: AbortSignal): AsyncGenerator<Found> {
  for (const { prefix, directory } of parts) {
    const batches = walk(directory.hold(), { recursive: true, after: [], signal });
    for await (const { directory: parent, entries } of batches)
      for (const entry of entries) yield { directory: parent, entry, prefix: prefix === '' ? '' : `${prefix}/` };
  }
};

/** Everything below the directories, opened ahead of its turn; whoever takes a file with a rest closes that. */
export const archiveEntries = (
  parts: readonly OpenPart[],
  { signal, pool }: ArchiveOptions,
): AsyncGenerator<ArchiveEntry> =>
  inOrder(find(parts, signal), (found) => begin(found, pool), { atOnce: begunAtOnce, dispose: closeEntry });

export const closeEntry = async (entry: ArchiveEntry): Promise<void> => {
  if (entry.kind === 'file') await entry.rest?.close();
};

/** The file in blocks, as far as it can be read; how far is in the list of the unreadable when that is not to its end. */
export const contentOf = async function* (
  entry: FileEntry,
  { unreadable, signal, pool }: ArchiveOptions,
): AsyncGenerator<Uint8Array> {
  const { first, rest, sizeBytes, path } = entry;
  let sent = first.length;
  yield first;
  if (!rest) return;
  try {
    const span = { start: sent, length: sizeBytes - sent, pool, signal };
    for await (const piece of readPieces(rest, span)) {
      sent += piece.length;
      yield piece;
    }
  } catch (error) {
    if (signal.aborted) throw error;
    unreadable.add(path, `only the first ${sent} of ${sizeBytes} bytes (${codeOf(error)})`);
    return;
  }
  if (sent < sizeBytes) unreadable.add(path, `only the first ${sent} of ${sizeBytes} bytes`);
};

/** The list of what is left out, as a file of the archive. */
export const listEntry = (unreadable: Unreadable): FileEntry => {
  const { name, content } = unreadable.list();
  const modifiedNs = BigInt(Date.now()) * 1_000_000n;
  const attributes = { mode: 0o644, modifiedNs, userId: 0, groupId: 0, sharedAs: undefined };
  return { kind: 'file', path: name, attributes, sizeBytes: content.length, first: content, rest: undefined };
};
