import { DomainError } from '#domain/errors.ts';
import { handle } from './handle.ts';
import type { Clock, CommandContext, EventStore } from './ports.ts';
import { type AwaitMount, restoreMountTarget } from './restore-mount-target.ts';

type Deps = Readonly<{ store: EventStore; clock: Clock; awaitMount: AwaitMount }>;

/** Takes a mount down and answers once nothing of it is left. What is being read through it is broken off. */
export const createUnmountDisk =
  ({ store, clock, awaitMount }: Deps) =>
  async (mountId: string, context: CommandContext, signal: AbortSignal): Promise<void> => {
    const data = { mountId, at: clock.now(), cause: 'requested', detail: `by ${context.actor}` } as const;
    await handle(store, restoreMountTarget(mountId), { type: 'RequestUnmount', data }, context);
    const state = await awaitMount(mountId, ({ status }) => status === 'unmounted' || status === 'failed', signal);
    if (state.status === 'unmounted') return;
    const why = state.status === 'failed' ? state.unmountError : 'it is still under way; look at the mounts again';
    throw new DomainError('unmount-failed', `the disk is not unmounted: ${why}`, { mountId });
  };
