import { isFresh } from '#commands/claim-name.ts';
import { handle, load } from '#commands/handle.ts';
import { folderOf } from '#commands/mount-access.ts';
import { deadlineAfter } from '#commands/mount-deadline.ts';
import { mountSlotsTarget, slotHolders } from '#commands/mount-slots.ts';
import { restoreMountTarget } from '#commands/restore-mount-target.ts';
import { backupDecider } from '#domain/backup/decide.ts';
import type { SlotHolder } from '#domain/mount-slots/mount-slots.ts';
import type { UnmountCause } from '#domain/restore-mount/events.ts';
import { isLive, type RestoreMount } from '#domain/restore-mount/restore-mount.ts';
import { streamOf } from '#domain/streams.ts';
import { contextOfLook, type RestoreMountsDeps, tellMount } from './deps.ts';
import { deservesRetry } from './state.ts';

type Verdict = Readonly<{ cause: UnmountCause; detail: string }>;

/** What a mounted disk has lost of its programs and mounts. */
export const lossOf = async (mount: RestoreMount, deps: RestoreMountsDeps): Promise<Verdict | undefined> => {
  const folders = mount.partitions.map(({ number }) => folderOf(mount, number));
  const detail = await deps.disks.lossOf({ ...mount, folders });
  return detail === undefined ? undefined : { cause: 'vanished', detail };
};

const backupIsGone = async ({ backupId }: RestoreMount, { store }: RestoreMountsDeps): Promise<boolean> => {
  const { state } = await load(store, backupDecider, streamOf.backup(backupId));
  return state.status === 'none' || state.removal === 'removed';
};

const requestUnmount = async (mountId: string, verdict: Verdict, deps: RestoreMountsDeps): Promise<void> => {
  const data = { mountId, ...verdict, at: deps.clock.now() };
  await tellMount(deps, { type: 'RequestUnmount', data }, await contextOfLook(deps, mountId));
};

/** Reads of this hub that are not in the log yet count as well. */
const isIdle = ({ mountId, idleSeconds, expiresAt }: RestoreMount, { holds, clock }: RestoreMountsDeps): boolean => {
  const now = clock.now();
  const newest = holds.lastAccess(mountId);
  const isRead = holds.isHeld(mountId) || (newest !== undefined && deadlineAfter(newest, idleSeconds) > now);
  return expiresAt <= now && !isRead;
};

/** A hub that dies between taking a slot and recording its mount leaves a slot without one. */
const freeUnused = async ({ mountId, takenAt }: SlotHolder, deps: RestoreMountsDeps): Promise<void> => {
  if (isFresh(takenAt, deps.clock.now())) return;
  const data = { mountId, at: deps.clock.now() };
  const slots = mountSlotsTarget(deps.storageNode);
  const context = await contextOfLook(deps, mountId, slots.stream);
  await handle(deps.store, slots, { type: 'ReleaseMountSlot', data }, context);
};

/** `retryFailed`: also what was tried often enough, as a start of the hub does. */
const judge = async (holder: SlotHolder, deps: RestoreMountsDeps, retryFailed: boolean): Promise<void> => {
  const { mountId } = holder;
  const target = restoreMountTarget(mountId);
  const { state } = await load(deps.store, target.decider, target.stream);
  if (state.status === 'none') return freeUnused(holder, deps);
  if (deservesRetry(state) || (retryFailed && state.status === 'failed'))
    return requestUnmount(mountId, { cause: 'retry', detail: state.unmountError }, deps);
  if (!isLive(state)) return;
  const loss = state.status === 'mounted' ? await lossOf(state, deps) : undefined;
  if (loss) return requestUnmount(mountId, loss, deps);
  if (await backupIsGone(state, deps))
    return requestUnmount(mountId, { cause: 'backup-removed', detail: state.backupId }, deps);
  if (!isIdle(state, deps)) return;
  const data = { mountId, at: deps.clock.now() };
  await tellMount(deps, { type: 'ExpireMount', data }, await contextOfLook(deps, mountId));
};

/**
 * Judges every mount that holds a slot: one that is idle, lost, or whose backup is gone is asked to end. Returns all of
 * them, for a look at each. One that cannot be judged does not hide the others.
 */
export const judgeMounts = async (deps: RestoreMountsDeps, retryFailed: boolean): Promise<readonly string[]> => {
  const holders = await slotHolders(deps.store, deps.storageNode);
  const results = await Promise.allSettled(holders.map((holder) => judge(holder, deps, retryFailed)));
  const errors = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []));
  if (errors.length > 0) throw new AggregateError(errors, 'mounts that could not be judged');
  return holders.map(({ mountId }) => mountId);
};

/** What is there but is no mount of the records is taken down: its hub died before the record, or its log was replaced. */
export const takeDownStrays = async (deps: RestoreMountsDeps, signal: AbortSignal): Promise<void> => {
  const found = await deps.disks.list();
  if (found.length === 0) return;
  const held = new Set((await slotHolders(deps.store, deps.storageNode)).map(({ mountId }) => mountId));
  for (const stray of found) if (!held.has(stray.mountId)) await deps.disks.unmount(stray, signal);
};
