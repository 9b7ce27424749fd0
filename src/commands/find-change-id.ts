import { backupDecider } from '#domain/backup/decide.ts';
import { type BackupJob, isRunning } from '#domain/backup/state.ts';
import { DomainError } from '#domain/errors.ts';
import { headOf, restorePointsDecider } from '#domain/restore-points/decide.ts';
import type { RestorePoint, RestorePointsState } from '#domain/restore-points/events.ts';
import { streamOf } from '#domain/streams.ts';
import type { BackupInventory } from './backup-ports.ts';
import { load } from './handle.ts';
import type { EventStore } from './ports.ts';

export type KnownChangeId = Readonly<{
  /** The disk that the answer is for: not always the one that was asked for. */
  diskIndex: number;
  changeId: string;
  point: RestorePoint;
}>;

type Deps = Readonly<{ store: EventStore; inventory: BackupInventory }>;
type Query = Readonly<{ vmName: string; diskIndex: number; repositoryId?: string }>;

const notFound = (query: Query): never => {
  throw new DomainError(
    'change-id-not-found',
    `no change id of disk ${query.diskIndex} of "${query.vmName}" is known`,
    {
      disk: query.diskIndex,
    },
  );
};

/** While an increment runs, only what its overlays are based on counts; a wrong base would lose data silently. */
const baseOfRunning = (state: RestorePointsState, job: BackupJob, diskIndex: number): KnownChangeId | undefined => {
  const asked = job.disks.find(({ index }) => index === diskIndex);
  if (!asked) return undefined;
  // The old client asks with index 0 for every disk until it is connected: a disk that is done cannot be meant.
  const disk = asked.changeId === null ? asked : job.disks.find(({ changeId }) => changeId === null);
  const point = state.points.find(({ disks }) => disks.some(({ imagePath }) => imagePath === disk?.base?.imagePath));
  if (!disk?.base?.changeId || !point) return undefined;
  return { diskIndex: disk.index, changeId: disk.base.changeId, point };
};

/** With no backup running: the newest head over all repositories (or the one asked for). */
const newestHead = (state: RestorePointsState, { diskIndex, repositoryId }: Query): KnownChangeId | undefined => {
  const repositories = new Set(repositoryId ? [repositoryId] : state.points.map((point) => point.repositoryId));
  const heads = [...repositories]
    .flatMap((id) => headOf(state, id, diskIndex) ?? [])
    .filter(({ disk }) => disk.changeId !== null)
    .toSorted((a, b) => b.point.completedAt.localeCompare(a.point.completedAt));
  const [newest] = heads;
  return newest?.disk.changeId ? { diskIndex, changeId: newest.disk.changeId, point: newest.point } : undefined;
};

/** Of the VMs of that name, the one that is being backed up: it is its client that asks. */
const restorePointsOf = async ({ store, inventory }: Deps, vmName: string): Promise<RestorePointsState | undefined> => {
  const ids = await inventory.vmContextIdsNamed(vmName);
  const states = await Promise.all(
    ids.map(async (id) => (await load(store, restorePointsDecider(id), streamOf.restorePoints(id))).state),
  );
  return states.find(({ active }) => active) ?? states[0];
};

/**
 * The change id from which the client may copy only what changed. A running backup decides: a full one must copy
 * everything although older ids exist. Throws `change-id-not-found`.
 */
export const createFindChangeId =
  (deps: Deps) =>
  async (query: Query): Promise<KnownChangeId> => {
    const state = await restorePointsOf(deps, query.vmName);
    if (!state) return notFound(query);
    if (!state.active) return newestHead(state, query) ?? notFound(query);
    const { state: job } = await load(deps.store, backupDecider, streamOf.backup(state.active.backupId));
    // A job that has failed keeps the VM's slot until it is cleaned up; it decides nothing any more.
    if (job.status !== 'none' && !isRunning(job)) return newestHead(state, query) ?? notFound(query);
    if (job.status === 'none' || job.backupType === 'full') return notFound(query);
    return baseOfRunning(state, job, query.diskIndex) ?? notFound(query);
  };
