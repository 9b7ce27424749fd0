import { handle, load } from '#commands/handle.ts';
import { mountSlotsTarget } from '#commands/mount-slots.ts';
import { newestEventOf } from '#commands/newest-event.ts';
import type { CommandContext } from '#commands/ports.ts';
import { restoreMountTarget } from '#commands/restore-mount-target.ts';
import type { RestoreMount, RestoreMountState } from '#domain/restore-mount/restore-mount.ts';
import { contextFor, type RestoreMountsDeps, tellMount } from './deps.ts';
import { MountRefused } from './ports.ts';
import { type Intent, owed } from './state.ts';

type Work = Readonly<{
  mount: RestoreMount;
  deps: RestoreMountsDeps;
  context: CommandContext;
  signal: AbortSignal;
}>;

/** Downloads are broken off, and have this long to let go of their files. */
const breakOffPatienceMs = 2_000;

const mount = async ({ mount: wanted, deps, context, signal }: Work): Promise<RestoreMountState> => {
  const { mountId } = wanted;
  try {
    const mounted = await deps.disks.mount(wanted, signal);
    const data = { mountId, ...mounted, at: deps.clock.now() };
    return await tellMount(deps, { type: 'CompleteMount', data }, context);
  } catch (error) {
    if (!(error instanceof MountRefused)) throw error;
    const data = { mountId, kind: error.kind, reason: error.message, at: deps.clock.now() };
    return tellMount(deps, { type: 'FailMount', data }, context);
  }
};

const unmount = async ({ mount: ending, deps, context, signal }: Work): Promise<RestoreMountState> => {
  const { mountId } = ending;
  await deps.holds.breakOff(mountId, breakOffPatienceMs);
  try {
    await deps.disks.unmount(ending, signal);
  } catch (error) {
    signal.throwIfAborted();
    const reason = error instanceof Error ? error.message : String(error);
    return tellMount(deps, { type: 'RecordUnmountFailure', data: { mountId, reason, at: deps.clock.now() } }, context);
  }
  // The slot before the last word: whoever waits for that word may need the slot.
  await releaseSlot(mountId, deps, context);
  return tellMount(deps, { type: 'RecordUnmounted', data: { mountId, at: deps.clock.now() } }, context);
};

const releaseSlot = async (mountId: string, deps: RestoreMountsDeps, context: CommandContext): Promise<void> => {
  const data = { mountId, at: deps.clock.now() };
  await handle(deps.store, mountSlotsTarget(deps.storageNode), { type: 'ReleaseMountSlot', data }, context);
};

/** Effect first, then its outcome as a fact. Throws only what is worth a retry. */
const perform = async (intent: Intent, work: Work): Promise<RestoreMountState> => {
  switch (intent) {
    case 'mount':
      return mount(work);
    case 'unmount':
      return unmount(work);
    case 'release-slot':
      await releaseSlot(work.mount.mountId, work.deps, work.context);
      return { status: 'none' };
  }
};

const performObserved = (intent: Intent, work: Work): Promise<RestoreMountState> => {
  const facts = { processManager: 'restore-mounts', jobId: work.mount.mountId, step: intent };
  return work.deps.steps?.step(facts, () => perform(intent, work)) ?? perform(intent, work);
};

/**
 * Brings one mount as far as it gets without waiting for anybody. May be called at any time, also for a mount that is
 * unknown or long gone. Throws what is worth a retry.
 */
export const settle = async (
  mountId: string,
  deps: RestoreMountsDeps,
  causationId: string | undefined,
  signal: AbortSignal,
): Promise<RestoreMountState> => {
  const target = restoreMountTarget(mountId);
  let { state } = await load(deps.store, target.decider, target.stream);
  let cause = causationId;
  while (!signal.aborted) {
    const intent = state.status === 'none' ? undefined : owed(state);
    if (intent === undefined || state.status === 'none' || state.storageNode !== deps.storageNode) break;
    cause ??= await newestEventOf(deps.store, target.stream);
    const context = contextFor(deps.ids, mountId, cause);
    state = await performObserved(intent, { mount: state, deps, context, signal });
  }
  return state;
};
