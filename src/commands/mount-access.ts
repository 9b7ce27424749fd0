import { DomainError } from '#domain/errors.ts';
import { isLive, type RestoreMount } from '#domain/restore-mount/restore-mount.ts';
import type { MountAccess, MountHold, OpenMount } from './file-restore-ports.ts';
import { handle, load } from './handle.ts';
import { deadlineAfter } from './mount-deadline.ts';
import { afterNewest } from './newest-event.ts';
import type { Clock, CommandContext, EventStore, Ids } from './ports.ts';
import { mountNotFound, restoreMountTarget } from './restore-mount-target.ts';

type Deps = Readonly<{
  store: EventStore;
  clock: Clock;
  ids: Ids;
  onProblem: (error: unknown) => void;
  /** Reads within this time after one that is recorded are not recorded themselves. */
  recordEverySeconds: number;
  idleSeconds: number;
}>;

/** Mounts as those who read through them see them, and who reads now. */
export type MountHolds = MountAccess &
  Readonly<{
    /** The newest access of this hub, recorded or not. */
    lastAccess: (mountId: string) => string | undefined;
    isHeld: (mountId: string) => boolean;
    /** Breaks off whoever reads, and waits until they are gone, a bounded time. */
    breakOff: (mountId: string, patienceMs: number) => Promise<void>;
    close: () => void;
  }>;

type Entry = { holds: Set<AbortController>; lastAccess: string; recorded: string; left: PromiseWithResolvers<void> };

/** Where a filesystem of a mount is. */
export const folderOf = (
  { mountPath, partitioned }: Pick<RestoreMount, 'mountPath' | 'partitioned'>,
  number: number,
) => (partitioned ? `${mountPath}/partition-${number}` : mountPath);

const openMount = (mount: RestoreMount): OpenMount => ({
  ...{ mountId: mount.mountId, backupId: mount.backupId, vmName: mount.vmName, diskIndex: mount.diskIndex },
  ...{ createdAt: mount.createdAt, partitioned: mount.partitioned },
  partitions: mount.partitions.map((partition) => ({
    ...{ number: partition.number, sizeBytes: partition.sizeBytes, filesystem: partition.filesystem },
    ...{ label: partition.label, rootPath: folderOf(mount, partition.number) },
  })),
});

/**
 * Holds live in memory; the log is told of an access about once a minute, and goes on being told while something is held.
 * So a deadline that any hub judges from the log is never more than that too early, and never cuts what is being read.
 */
export const createMountAccess = ({
  store,
  clock,
  ids,
  onProblem,
  recordEverySeconds,
  idleSeconds,
}: Deps): MountHolds => {
  const entries = new Map<string, Entry>();

  const isDue = ({ recorded }: Entry, now: string): boolean =>
    recorded === '' || Date.parse(now) - Date.parse(recorded) >= recordEverySeconds * 1000;

  /** An access that is not recorded must not keep anybody from reading: it is told, and the next one tries again. */
  const record = async (
    mountId: string,
    entry: Entry,
    contextOf: () => CommandContext | Promise<CommandContext>,
  ): Promise<void> => {
    const at = clock.now();
    if (!isDue(entry, at)) return;
    entry.recorded = at;
    const data = { mountId, at, expiresAt: deadlineAfter(at, idleSeconds) };
    try {
      await handle(store, restoreMountTarget(mountId), { type: 'RecordAccess', data }, await contextOf());
    } catch (error) {
      entry.recorded = '';
      onProblem(error);
    }
  };

  const context = (mountId: string): Promise<CommandContext> =>
    afterNewest(store, restoreMountTarget(mountId).stream, {
      ...{ actor: 'process:restore-mounts', correlationId: mountId, commandId: ids.uuid() },
    });

  const keepAlive = setInterval(() => {
    for (const [mountId, entry] of entries) {
      if (entry.holds.size === 0) continue;
      entry.lastAccess = clock.now();
      void record(mountId, entry, () => context(mountId));
    }
  }, recordEverySeconds * 1000);
  keepAlive.unref();

  const enter = (mountId: string): Entry => {
    const known = entries.get(mountId);
    if (known) return known;
    const made: Entry = { holds: new Set(), lastAccess: '', recorded: '', left: Promise.withResolvers() };
    entries.set(mountId, made);
    return made;
  };

  const leave = (mountId: string, entry: Entry, hold: AbortController): void => {
    if (!entry.holds.delete(hold) || entry.holds.size > 0) return;
    if (entry.lastAccess === '') entries.delete(mountId);
    else entry.lastAccess = clock.now();
    entry.left.resolve();
    entry.left = Promise.withResolvers();
  };

  /** Held before it is looked at: an unmount that comes in between finds the hold, or the look finds the unmount. */
  const hold = async (mountId: string, reader: CommandContext): Promise<MountHold> => {
    const entry = enter(mountId);
    const controller = new AbortController();
    entry.holds.add(controller);
    const release = () => leave(mountId, entry, controller);
    try {
      const target = restoreMountTarget(mountId);
      const { state } = await load(store, target.decider, target.stream);
      if (state.status === 'none' || state.status === 'unmounted') throw mountNotFound(mountId);
      if (state.status !== 'mounted' || controller.signal.aborted) {
        const doing = isLive(state) ? 'still being mounted' : 'being unmounted';
        throw new DomainError('mount-not-ready', `this disk is ${doing}`, { mountId });
      }
      entry.lastAccess = clock.now();
      await record(mountId, entry, () => reader);
      return { mount: openMount(state), signal: controller.signal, release };
    } catch (error) {
      release();
      throw error;
    }
  };

  const breakOff = async (mountId: string, patienceMs: number): Promise<void> => {
    const entry = entries.get(mountId);
    if (!entry) return;
    const { left } = entry;
    const { size } = entry.holds;
    entries.delete(mountId);
    if (size === 0) return;
    const reason = new DomainError('mount-not-found', 'the disk is being unmounted', { mountId });
    for (const controller of entry.holds) controller.abort(reason);
    const late = Promise.withResolvers<void>();
    const timer = setTimeout(late.resolve, patienceMs);
    await Promise.race([left.promise, late.promise]).finally(() => clearTimeout(timer));
  };

  return {
    hold,
    lastAccess: (mountId) => entries.get(mountId)?.lastAccess || undefined,
    isHeld: (mountId) => (entries.get(mountId)?.holds.size ?? 0) > 0,
    breakOff,
    close: () => clearInterval(keepAlive),
  };
};
