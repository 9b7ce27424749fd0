import { DomainError } from '#domain/errors.ts';
import { type RestoreMount, type RestoreMountState, restoreMountDecider } from '#domain/restore-mount/restore-mount.ts';
import { streamOf } from '#domain/streams.ts';

export const restoreMountTarget = (mountId: string) => ({
  decider: restoreMountDecider,
  stream: streamOf.restoreMount(mountId),
});

export const mountNotFound = (mountId: string): DomainError =>
  new DomainError('mount-not-found', `there is no mount ${mountId}`, { mountId });

/** Waits, a bounded time, until a mount has come to a state, whoever brings it there; then returns the state it is in. */
export type AwaitMount = (
  mountId: string,
  until: (state: RestoreMountState) => boolean,
  signal: AbortSignal,
) => Promise<RestoreMountState>;

/** What is known of a mount that was there at some time. */
export const knownMount = (state: RestoreMountState, mountId: string): RestoreMount => {
  if (state.status === 'none') throw mountNotFound(mountId);
  return state;
};
