import { DomainError } from '#domain/errors.ts';
import type { BrowseFiles, ListedFile } from './browse-files.ts';
import type { DownloadFiles } from './download-files.ts';
import { PiecePool } from './piece-pool.ts';
import type { CommandContext } from './ports.ts';

export type VersionedBackup = Readonly<{ backupId: string; type: string; completedAt: string }>;

export type FileVersion = Readonly<{
  backup: VersionedBackup;
  /** Undefined where the backup does not have it, or could not be looked at. */
  file: ListedFile | undefined;
  sha256: string | undefined;
  /** Counts the different ones from 1, in the order in which they came up; the same number is the same content. */
  version: number | undefined;
  /** Why this backup could not be looked at. */
  problem: string | undefined;
}>;

export type VersionsRequest = Readonly<{
  /** Oldest first. */
  backups: readonly VersionedBackup[];
  diskIndex: number;
  path: string;
  /** Reads the files; else the same size and time are taken for the same content. */
  withSha256: boolean;
  signal: AbortSignal;
}>;

type Disk = Readonly<{ backupId: string; diskIndex: number }>;

type Deps = Readonly<{
  browse: Pick<BrowseFiles, 'info'>;
  downloads: Pick<DownloadFiles, 'open'>;
  isMounted: (disk: Disk) => Promise<boolean>;
  mountDisk: (disk: Disk, context: CommandContext, signal: AbortSignal) => Promise<Readonly<{ mountId: string }>>;
  unmountDisk: (mountId: string, context: CommandContext, signal: AbortSignal) => Promise<void>;
  createHasher: () => Readonly<{ update: (bytes: Uint8Array) => unknown; digest: () => string }>;
  /** A mount that was made for this and stays: it ends by itself, later. */
  onStaying: (problem: Readonly<{ mountId: string; error: unknown }>) => void;
}>;

export type FileVersions = (request: VersionsRequest, context: () => CommandContext) => AsyncGenerator<FileVersion>;

const pieceBytes = 512 * 1024;
const unmountPatienceMs = 60_000;

type Looked = Readonly<{ file: ListedFile | undefined; sha256: string | undefined }>;

const notThere: Looked = { file: undefined, sha256: undefined };

/** What is refused everywhere alike is the request's fault, and not that of one backup. */
const concernsAll = (error: unknown): boolean =>
  !(error instanceof DomainError) || error.code === 'invalid-request' || error.code === 'path-outside-mount';

/**
 * Looks at one backup after the other, so that it never needs more than one slot. A disk that somebody has mounted stays mounted;
 * what was mounted for this is unmounted at once.
 */
export const createFileVersions = (deps: Deps): FileVersions => {
  const { browse, downloads } = deps;

  const hashOf = async (
    mountId: string,
    path: string,
    context: CommandContext,
    signal: AbortSignal,
  ): Promise<string> => {
    const download = await downloads.open({ mountId, path, signal }, context);
    try {
      if (download.kind !== 'file') throw new DomainError('not-a-file', 'This is not a file.');
      const hasher = deps.createHasher();
      const pool = new PiecePool(pieceBytes);
      for await (const piece of download.read({ start: 0, end: download.sizeBytes - 1 }, pool)) {
        hasher.update(piece);
        pool.giveBack(piece);
      }
      return hasher.digest();
    } finally {
      await download.close();
    }
  };

  const look = async (mountId: string, request: VersionsRequest, context: CommandContext): Promise<Looked> => {
    const { path, withSha256, signal } = request;
    const { file } = await browse.info(mountId, path, context);
    return {
      file,
      sha256: withSha256 && file.kind === 'file' ? await hashOf(mountId, path, context, signal) : undefined,
    };
  };

  /** Also when the client has gone: nobody else would do it for an hour. */
  const unmount = async (mountId: string, context: CommandContext): Promise<void> => {
    try {
      await deps.unmountDisk(mountId, context, AbortSignal.timeout(unmountPatienceMs));
    } catch (error) {
      deps.onStaying({ mountId, error });
    }
  };

  const lookAt = async (
    backup: VersionedBackup,
    request: VersionsRequest,
    context: () => CommandContext,
  ): Promise<Looked & Readonly<{ problem: string | undefined }>> => {
    const disk = { backupId: backup.backupId, diskIndex: request.diskIndex };
    try {
      const wasMounted = await deps.isMounted(disk);
      const { mountId } = await deps.mountDisk(disk, context(), request.signal);
      try {
        return { ...(await look(mountId, request, context())), problem: undefined };
      } finally {
        if (!wasMounted) await unmount(mountId, context());
      }
    } catch (error) {
      request.signal.throwIfAborted();
      if (error instanceof DomainError && error.code === 'file-not-found') return { ...notThere, problem: undefined };
      if (concernsAll(error)) throw error;
      return { ...notThere, problem: error instanceof Error ? error.message : String(error) };
    }
  };

  return async function* (request, context) {
    const known = new Map<string, number>();
    for (const backup of request.backups) {
      request.signal.throwIfAborted();
      const { file, sha256, problem } = await lookAt(backup, request, context);
      const key = file && JSON.stringify(sha256 ?? [file.kind, file.sizeBytes, file.modifiedAt, file.linkTarget ?? '']);
      if (key !== undefined && !known.has(key)) known.set(key, known.size + 1);
      yield { backup, file, sha256, problem, version: key === undefined ? undefined : known.get(key) };
    }
  };
};
