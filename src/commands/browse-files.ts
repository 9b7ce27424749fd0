import { DomainError } from '#domain/errors.ts';
import type { MountAccess, MountedPartition, MountHold, OpenMount } from './file-restore-ports.ts';
import type { FileFacts, FileTrees, OpenedFile } from './file-tree-ports.ts';
import { locate, type MountedPath, partitionName, partitionPath } from './mounted-path.ts';
import type { CommandContext } from './ports.ts';
import { Running } from './running.ts';

export type ListedFile = Omit<FileFacts, 'path'> & Readonly<{ name: string; path: string }>;

export type ListRequest = Readonly<{
  mountId: string;
  path: string;
  recursive: boolean;
  /** Only names that it takes; everything is looked at all the same. */
  match?: (name: string) => boolean;
  limit: number;
  /** A `cursor` of another list of the same path. */
  after?: string;
  signal: AbortSignal;
}>;

export type ListEnd = Readonly<{
  count: number;
  /** For the list behind this one, when the limit ended it. */
  cursor: string | undefined;
  /** What the filesystem cannot read is left out. */
  unreadable: number;
}>;

export type FileList = Readonly<{
  mount: OpenMount;
  /** Empty parts tell that it is still being looked for. */
  parts: AsyncGenerator<readonly ListedFile[], ListEnd>;
  /** Aborts when the mount goes all the same. */
  gone: AbortSignal;
  /** Lets go of the mount; also when nothing was read. */
  close: () => Promise<void>;
}>;

export type FileInfo = Readonly<{ mount: OpenMount; file: ListedFile }>;

export type BrowseFiles = Readonly<{
  /** Nothing is read before the first part is asked for; refusals come with it at the latest. */
  list: (request: ListRequest, context: CommandContext) => Promise<FileList>;
  info: (mountId: string, path: string, context: CommandContext) => Promise<FileInfo>;
}>;

type Deps = Readonly<{ mounts: MountAccess; trees: FileTrees }>;

const lastOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

const listed = (folder: string, { path, ...facts }: FileFacts): ListedFile => ({
  ...facts,
  name: lastOf(path),
  path: `${folder === '/' ? '' : folder}/${path}`,
});

/** A filesystem of a partitioned disk, as a folder. */
const partitionFile = (partition: MountedPartition, { createdAt }: OpenMount): ListedFile => ({
  ...{ name: partitionName(partition), path: partitionPath(partition), kind: 'directory' },
  ...{ sizeBytes: partition.sizeBytes, mode: 0o755, modifiedAt: createdAt },
});

export const goneMeanwhile = (): DomainError =>
  new DomainError('mount-not-ready', 'The backup was unmounted meanwhile. Mount it again.');

/** `key`: of an entry, what the next list goes on behind. */
type Found = Readonly<{ files: readonly Readonly<{ key: string; file: ListedFile }>[]; unreadable: number }>;
type Source = Readonly<{ found: AsyncIterable<Found>; close: () => Promise<void> }>;
type Walk = Readonly<{ recursive: boolean; after: string | undefined; signal: AbortSignal }>;

const insideOf = (
  opened: OpenedFile,
  folder: string,
  { after, ...walk }: Walk,
  keyPrefix = '',
): AsyncIterable<Found> => {
  const batches = opened.list(after === undefined ? walk : { ...walk, after });
  return (async function* () {
    for await (const { entries, unreadable } of batches)
      yield {
        files: entries.map((facts) => ({ key: `${keyPrefix}${facts.path}`, file: listed(folder, facts) })),
        unreadable,
      };
  })();
};

/** The filesystems of a partitioned disk, each followed by what is in it. */
const partitionsOf = async function* (mount: OpenMount, trees: FileTrees, walk: Walk): AsyncGenerator<Found> {
  const [first, ...rest] = walk.after?.split('/') ?? [];
  const behind = mount.partitions.findIndex((partition) => partitionPath(partition) === `/${first}`);
  for (const partition of mount.partitions.slice(Math.max(behind, 0))) {
    const key = partitionPath(partition).slice(1);
    const seen = key === first;
    if (!seen) yield { files: [{ key, file: partitionFile(partition, mount) }], unreadable: 0 };
    if (!walk.recursive) continue;
    const opened = await trees.open(partition.rootPath, [], { followLast: false });
    try {
      const after = seen && rest.length > 0 ? rest.join('/') : undefined;
      yield* insideOf(opened, partitionPath(partition), { ...walk, after }, `${key}/`);
    } finally {
      await opened.close();
    }
  }
};

const openSource = async (deps: Deps, mount: OpenMount, place: MountedPath, walk: Walk): Promise<Source> => {
  if (place.kind === 'top') return { found: partitionsOf(mount, deps.trees, walk), close: async () => undefined };
  const opened = await deps.trees.open(place.partition.rootPath, place.below, { followLast: true });
  try {
    return { found: insideOf(opened, place.path, walk), close: opened.close.bind(opened) };
  } catch (error) {
    await opened.close();
    throw error;
  }
};

const partsOf = async function* (
  found: AsyncIterable<Found>,
  { match = () => true, limit }: Pick<ListRequest, 'match' | 'limit'>,
): AsyncGenerator<readonly ListedFile[], ListEnd> {
  let count = 0;
  let unreadable = 0;
  let cursor: string | undefined;
  for await (const batch of found) {
    unreadable += batch.unreadable;
    const matching = batch.files.filter(({ file }) => match(file.name));
    const taken = matching.slice(0, limit - count);
    if (taken.length < matching.length) {
      yield taken.map(({ file }) => file);
      return { count: count + taken.length, cursor: taken.at(-1)?.key ?? cursor, unreadable };
    }
    count += taken.length;
    cursor = taken.at(-1)?.key ?? cursor;
    yield taken.map(({ file }) => file);
  }
  return { count, cursor: undefined, unreadable };
};

/** An unmount that ends the reading is told as what it is. */
const heldBy = async function* <T, R>(parts: AsyncGenerator<T, R>, { signal }: MountHold): AsyncGenerator<T, R> {
  try {
    return yield* parts;
  } catch (error) {
    throw signal.aborted ? goneMeanwhile() : error;
  }
};

export const createBrowseFiles = (deps: Deps): BrowseFiles => ({
  list: async (request, context) => {
    const hold = await deps.mounts.hold(request.mountId, context);
    try {
      const { recursive, after, path } = request;
      const signal = AbortSignal.any([request.signal, hold.signal]);
      const place = locate(hold.mount, path);
      const source = await openSource(deps, hold.mount, place, { recursive, after, signal });
      const running = new Running();
      const close = async (): Promise<void> => {
        await running.ended();
        await source.close().finally(hold.release);
      };
      return {
        mount: hold.mount,
        gone: hold.signal,
        parts: running.track(heldBy(partsOf(source.found, request), hold)),
        close,
      };
    } catch (error) {
      hold.release();
      throw error;
    }
  },
  info: async (mountId, path, context) => {
    const hold = await deps.mounts.hold(mountId, context);
    try {
      return { mount: hold.mount, file: await infoOf(deps, hold.mount, locate(hold.mount, path)) };
    } finally {
      hold.release();
    }
  },
});

const infoOf = async (deps: Deps, mount: OpenMount, place: MountedPath): Promise<ListedFile> => {
  if (place.kind === 'top') {
    const facts = { kind: 'directory', sizeBytes: 0, mode: 0o755, modifiedAt: mount.createdAt } as const;
    return { ...facts, name: '/', path: '/' };
  }
  if (mount.partitioned && place.below.length === 0) return partitionFile(place.partition, mount);
  const opened = await deps.trees.open(place.partition.rootPath, place.below, { followLast: false });
  try {
    const { path: _, ...facts } = opened.facts;
    return { ...facts, name: place.below.at(-1) ?? '/', path: place.path };
  } finally {
    await opened.close();
  }
};
