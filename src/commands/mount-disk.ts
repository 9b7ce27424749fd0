import { backupDecider } from '#domain/backup/decide.ts';
import type { KnownBackup } from '#domain/backup/state.ts';
import { DomainError, type ErrorCode } from '#domain/errors.ts';
import type { SlotHolder } from '#domain/mount-slots/mount-slots.ts';
import type { MountDriver, MountFailureKind } from '#domain/restore-mount/events.ts';
import {
  isLive,
  type RestoreMount,
  type RestoreMountState,
  restoreMountDecider,
} from '#domain/restore-mount/restore-mount.ts';
import { streamOf } from '#domain/streams.ts';
import { handle, load } from './handle.ts';
import { deadlineAfter } from './mount-deadline.ts';
import { mountSlotsTarget, slotHolders } from './mount-slots.ts';
import type { Clock, CommandContext, EventStore, Ids } from './ports.ts';
import type { MountHost } from './restore-mount-ports.ts';
import { type AwaitMount, knownMount, restoreMountTarget } from './restore-mount-target.ts';

type Deps = Readonly<{
  store: EventStore;
  clock: Clock;
  ids: Ids;
  host: MountHost;
  storageNode: string;
  idleSeconds: number;
  awaitMount: AwaitMount;
}>;

export type MountRequest = Readonly<{ backupId: string; diskIndex: number }>;

type Disk = Readonly<{ backup: KnownBackup; imagePath: string }>;

const assertRestorable = (backup: KnownBackup): void => {
  const { backupId, status, removal } = backup;
  if (status === 'completed' && removal === 'none') return;
  const why = status === 'completed' ? 'is being removed' : `is ${status}`;
  throw new DomainError('backup-not-restorable', `${backupId} ${why}; only completed backups can be mounted`, {
    backupId,
  });
};

const findDisk = async ({ store }: Pick<Deps, 'store'>, { backupId, diskIndex }: MountRequest): Promise<Disk> => {
  const { state } = await load(store, backupDecider, streamOf.backup(backupId));
  if (state.status === 'none' || state.removal === 'removed') {
    throw new DomainError('backup-not-found', `there is no backup ${backupId}`, { backupId });
  }
  const disk = state.disks.find(({ index }) => index === diskIndex);
  if (!disk) {
    throw new DomainError('backup-disk-not-found', `${backupId} has no disk ${diskIndex}`, { backupId, diskIndex });
  }
  assertRestorable(state);
  return { backup: state, imagePath: disk.imagePath };
};

const driverOf = async (host: MountHost): Promise<MountDriver> => {
  const { driver, reason } = await host.ability();
  if (driver === null) throw new DomainError('mounts-unavailable', `this host cannot mount: ${reason}`, { reason });
  return driver;
};

const codeOf: Readonly<Record<MountFailureKind, ErrorCode>> = {
  image: 'image-unreadable',
  'no-filesystem': 'nothing-mountable',
  host: 'mounts-unavailable',
  unexpected: 'mount-failed',
};

/** A mount that came into being, or why it did not. */
const resultOf = (state: RestoreMountState, mountId: string): RestoreMount => {
  const mount = knownMount(state, mountId);
  if (mount.failure) throw new DomainError(codeOf[mount.failure.kind], mount.failure.reason, { mountId });
  if (isLive(mount)) return mount;
  throw new DomainError('mount-busy', 'the mount was taken down while it came into being; mount the disk again', {
    mountId,
  });
};

const holderOf = (holders: readonly SlotHolder[], { backupId, diskIndex }: MountRequest): SlotHolder | undefined =>
  holders.find((holder) => holder.backupId === backupId && holder.diskIndex === diskIndex);

/** Nothing about it is under way: what failed to be mounted has been undone as well. */
const isSettled = ({ status }: RestoreMountState): boolean => status !== 'mounting' && status !== 'unmounting';

const isOver = (state: RestoreMountState): boolean => state.status === 'none' || state.status === 'unmounted';

/** How often a disk whose mount goes or comes meanwhile is looked at again. */
const maxRounds = 3;

/**
 * Mounts a disk and answers once its files can be read. The same disk is mounted once: its mount is returned, and kept for
 * another hour. What an earlier mount left is cleared away first.
 */
export const createMountDisk = (deps: Deps) => {
  const { store, clock, ids, host, storageNode, idleSeconds, awaitMount } = deps;

  /** From now on for as long as a mount may be idle. */
  const used = () => {
    const at = clock.now();
    return { at, expiresAt: deadlineAfter(at, idleSeconds) };
  };

  /** The mount that is there already, as one that was just used; undefined once it is out of the way. */
  const existing = async (
    state: RestoreMount,
    context: CommandContext,
    signal: AbortSignal,
  ): Promise<RestoreMount | undefined> => {
    const { mountId } = state;
    const target = restoreMountTarget(mountId);
    if (state.status === 'failed') {
      const data = { mountId, at: clock.now(), cause: 'retry', detail: 'the disk is mounted again' } as const;
      await handle(store, target, { type: 'RequestUnmount', data }, context);
    }
    if (isLive(state)) {
      await handle(store, target, { type: 'RecordAccess', data: { mountId, ...used() } }, context);
      return resultOf(await awaitMount(mountId, isSettled, signal), mountId);
    }
    const settled = await awaitMount(mountId, (seen) => isOver(seen) || seen.status === 'failed', signal);
    if (settled.status === 'none' || settled.status === 'unmounted') return undefined;
    const why = settled.unmountError === '' ? 'it is still being taken down' : settled.unmountError;
    throw new DomainError('mount-busy', `an earlier mount of this disk cannot be cleared away: ${why}`, { mountId });
  };

  /** The mount of a slot that was taken for this disk, by this request or by one whose hub died before it got here. */
  const request = async (
    { mountId, slot, backupId, diskIndex }: SlotHolder,
    disk: Disk,
    driver: MountDriver,
    context: CommandContext,
  ): Promise<void> => {
    const { imagePath, backup } = disk;
    const data = {
      ...{ mountId, backupId, diskIndex, vmName: backup.vmName, imagePath, storageNode, slot, driver },
      ...host.placeOf(mountId, slot, driver),
      ...{ idleSeconds, ...used() },
    };
    await handle(store, restoreMountTarget(mountId), { type: 'RequestMount', data }, context);
  };

  const takeSlot = async (wanted: MountRequest, driver: MountDriver, context: CommandContext): Promise<SlotHolder> => {
    const mountId = ids.uuid();
    const occupied = driver === 'nbd' ? await host.occupiedSlots() : [];
    const slots = mountSlotsTarget(storageNode);
    const data = { mountId, ...wanted, occupied, at: clock.now() };
    const { state } = await handle(store, slots, { type: 'TakeMountSlot', data }, context);
    const holder = state.holders.find((each) => each.mountId === mountId);
    if (!holder) throw new Error(`the slot of ${mountId} is not held`);
    return holder;
  };

  const begin = async (
    wanted: MountRequest,
    disk: Disk,
    taken: SlotHolder | undefined,
    context: CommandContext,
  ): Promise<string> => {
    const { imagePath } = disk;
    const [driver, isReadable] = await Promise.all([driverOf(host), host.isReadable(imagePath)]);
    if (!isReadable)
      throw new DomainError('image-unreadable', 'the image of this disk is gone or may not be read', { imagePath });
    const holder = taken ?? (await takeSlot(wanted, driver, context));
    await request(holder, disk, driver, context);
    return holder.mountId;
  };

  const tryOnce = async (
    wanted: MountRequest,
    context: CommandContext,
    signal: AbortSignal,
  ): Promise<RestoreMount | undefined> => {
    const [disk, holders] = await Promise.all([findDisk(deps, wanted), slotHolders(store, storageNode)]);
    const holder = holderOf(holders, wanted);
    const mount = holder && (await load(store, restoreMountDecider, streamOf.restoreMount(holder.mountId))).state;
    if (mount && mount.status !== 'none') return existing(mount, context, signal);
    const mountId = await begin(wanted, disk, holder, context);
    return resultOf(await awaitMount(mountId, isSettled, signal), mountId);
  };

  return async (wanted: MountRequest, context: CommandContext, signal: AbortSignal): Promise<RestoreMount> => {
    for (let round = 1; ; round += 1) {
      try {
        const mount = await tryOnce(wanted, context, signal);
        if (mount) return mount;
      } catch (error) {
        // Another request was faster: its mount is the answer.
        if (!(error instanceof DomainError && error.code === 'disk-mounted') || round === maxRounds) throw error;
      }
      if (round === maxRounds) {
        throw new DomainError('mount-busy', 'mounts of this disk come and go; try again', { ...wanted });
      }
    }
  };
};
