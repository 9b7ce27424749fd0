import type { PiecePool } from './piece-pool.ts';

export type FileKind = 'file' | 'directory' | 'symlink' | 'other';

export type FileFacts = Readonly<{
  /** Below where it was looked for, without a slash in front; empty for the start itself. Bytes that are not UTF-8 are U+EF80 to U+EFFF. */
  path: string;
  kind: FileKind;
  /** 0 for everything that has no content. */
  sizeBytes: number;
  /** Permission bits. */
  mode: number;
  modifiedAt: string;
  /** Of a symbolic link, as it is stored. */
  linkTarget?: string;
}>;

/** Names from the root of a filesystem downwards, none of them `..`. */
export type FilePath = readonly string[];

export type ListOptions = Readonly<{
  recursive: boolean;
  /** Only what comes behind this path, in the order of the list. */
  after?: string;
  signal: AbortSignal;
}>;

/** A part of a list; empty ones tell that it is still being looked for. */
export type ListBatch = Readonly<{
  entries: readonly FileFacts[];
  /** How many more could not be read. */
  unreadable: number;
}>;

export type ByteRange = Readonly<{ start: number; end: number }>;

/**
 * Something of a mounted filesystem that stays open until `close`: whatever happens to its name meanwhile, this is what is
 * read. `close` may be repeated, and waits for what is being read.
 */
export interface OpenedFile {
  readonly facts: FileFacts;
  /** The same as long as the content is; undefined for what has none. */
  readonly version: string;
  /** Of a directory: what is in it, by the bytes of the names, a directory before what is in it; links are never followed. */
  list(options: ListOptions): AsyncIterable<ListBatch>;
  /** Of a file; `end` is the last byte, as in HTTP. Throws `file-unreadable` when less is there than was promised. */
  read(range: ByteRange, pool: PiecePool, signal: AbortSignal): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}

export type ArchiveFormat = 'zip' | 'tar.gz';

/** A directory that goes into an archive, below `prefix` (empty, or one name). */
export type ArchivePart = Readonly<{ prefix: string; root: string; path: FilePath }>;

export type Archive = Readonly<{
  /** Once only. */
  body: AsyncIterable<Uint8Array>;
  /** What came to it so far. */
  counts: () => Readonly<{ files: number; unreadable: number }>;
  close: () => Promise<void>;
}>;

/**
 * Files below a folder where a filesystem of unknown origin is mounted. Nothing outside it is ever opened, whatever its
 * links say and whoever changes it meanwhile; devices, FIFOs and sockets are never opened at all.
 *
 * `open` and `archive` throw `file-not-found`, `path-outside-mount`, `not-a-directory` (an archive of a file),
 * `file-unreadable` for what the filesystem cannot read.
 */
export interface FileTrees {
  /** `followLast`: of a symbolic link, what it leads to. Links on the way are followed as far as they stay inside. */
  open(root: string, path: FilePath, options: Readonly<{ followLast: boolean }>): Promise<OpenedFile>;
  archive(parts: readonly ArchivePart[], format: ArchiveFormat, signal: AbortSignal): Promise<Archive>;
}
