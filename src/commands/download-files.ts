import { DomainError } from '#domain/errors.ts';
import { goneMeanwhile } from './browse-files.ts';
import type { MountAccess, MountHold, OpenMount } from './file-restore-ports.ts';
import type { ArchiveFormat, ArchivePart, ByteRange, FileTrees, OpenedFile } from './file-tree-ports.ts';
import { locate, type MountedPath, partitionPath } from './mounted-path.ts';
import type { PiecePool } from './piece-pool.ts';
import type { CommandContext } from './ports.ts';
import { Running } from './running.ts';

type Common = Readonly<{
  mount: OpenMount;
  /** In the form that further calls use. */
  path: string;
  /** For the file that the client makes of it. */
  name: string;
  /** Aborts when the mount goes all the same. */
  gone: AbortSignal;
  /** Lets go of the mount, once what is being read has come to its end; may be repeated. */
  close: () => Promise<void>;
}>;

export type FileDownload = Common &
  Readonly<{
    kind: 'file';
    sizeBytes: number;
    modifiedAt: string;
    /** The same whenever the same content is asked for, in whatever mount of the backup. */
    version: string;
    read: (range: ByteRange, pool: PiecePool) => AsyncIterable<Uint8Array>;
  }>;

export type DirectoryDownload = Common &
  Readonly<{
    kind: 'directory';
    format: ArchiveFormat;
    /** Once only. */
    body: AsyncIterable<Uint8Array>;
    counts: () => Readonly<{ files: number; unreadable: number }>;
  }>;

export type DownloadRequest = Readonly<{ mountId: string; path: string; signal: AbortSignal }>;

export type DownloadFiles = Readonly<{
  /** Of a directory, its archive as zip. */
  open: (request: DownloadRequest, context: CommandContext) => Promise<FileDownload | DirectoryDownload>;
  openDirectory: (
    request: DownloadRequest & Readonly<{ format: ArchiveFormat }>,
    context: CommandContext,
  ) => Promise<DirectoryDownload>;
}>;

type Deps = Readonly<{ mounts: MountAccess; trees: FileTrees }>;

const heldBy = async function* (bytes: AsyncIterable<Uint8Array>, hold: MountHold): AsyncGenerator<Uint8Array> {
  try {
    yield* bytes;
  } catch (error) {
    throw hold.signal.aborted ? goneMeanwhile() : error;
  }
};

const nameOf = (mount: OpenMount, { path }: MountedPath): string =>
  path === '/' ? `${mount.vmName}-disk${mount.diskIndex}` : path.slice(path.lastIndexOf('/') + 1);

const closing = (work: () => Promise<void>, hold: MountHold): (() => Promise<void>) => {
  let closed: Promise<void> | undefined;
  return () => {
    closed ??= work().finally(hold.release);
    return closed;
  };
};

type Place = Readonly<{ hold: MountHold; place: MountedPath; signal: AbortSignal }>;

const partsOf = (mount: OpenMount, place: MountedPath): readonly ArchivePart[] =>
  place.kind === 'inside'
    ? [{ prefix: '', root: place.partition.rootPath, path: place.below }]
    : mount.partitions.map((partition) => ({
        ...{ prefix: partitionPath(partition).slice(1), root: partition.rootPath, path: [] },
      }));

const directoryOf = async (trees: FileTrees, at: Place, format: ArchiveFormat): Promise<DirectoryDownload> => {
  const { hold, place, signal } = at;
  const { mount } = hold;
  const archive = await trees.archive(partsOf(mount, place), format, signal);
  const running = new Running();
  const work = async (): Promise<void> => {
    await running.ended();
    await archive.close();
  };
  return {
    ...{
      kind: 'directory',
      mount,
      path: place.path,
      format,
      name: `${nameOf(mount, place)}.${format}`,
      gone: hold.signal,
    },
    ...{ body: running.track(heldBy(archive.body, hold)), counts: archive.counts, close: closing(work, hold) },
  };
};

const fileOf = ({ hold, place, signal }: Place, opened: OpenedFile): FileDownload => {
  const { mount } = hold;
  const { sizeBytes, modifiedAt } = opened.facts;
  const running = new Running();
  const partition = place.kind === 'inside' ? place.partition.number : 0;
  const work = async (): Promise<void> => {
    await running.ended();
    await opened.close();
  };
  return {
    ...{ kind: 'file', mount, path: place.path, name: nameOf(mount, place), sizeBytes, modifiedAt, gone: hold.signal },
    version: `${mount.backupId}/${mount.diskIndex}/${partition}/${opened.version}`,
    read: (range, pool) => running.track(heldBy(opened.read(range, pool, signal), hold)),
    close: closing(work, hold),
  };
};

const openAt = async (trees: FileTrees, at: Place): Promise<FileDownload | DirectoryDownload> => {
  const { place } = at;
  if (place.kind === 'top') return directoryOf(trees, at, 'zip');
  const opened = await trees.open(place.partition.rootPath, place.below, { followLast: true });
  const { kind } = opened.facts;
  if (kind === 'file') return fileOf(at, opened);
  await opened.close();
  if (kind === 'directory') return directoryOf(trees, at, 'zip');
  throw new DomainError('not-a-file', 'This is a device, a FIFO or a socket: it has no content to download.');
};

export const createDownloadFiles = ({ mounts, trees }: Deps): DownloadFiles => {
  const held = async <T>(
    { mountId, path, signal }: DownloadRequest,
    context: CommandContext,
    work: (at: Place) => Promise<T>,
  ): Promise<T> => {
    const hold = await mounts.hold(mountId, context);
    try {
      const place = locate(hold.mount, path);
      return await work({ hold, place, signal: AbortSignal.any([signal, hold.signal]) });
    } catch (error) {
      hold.release();
      throw error;
    }
  };
  return {
    open: (request, context) => held(request, context, (at) => openAt(trees, at)),
    openDirectory: (request, context) => held(request, context, (at) => directoryOf(trees, at, request.format)),
  };
};
