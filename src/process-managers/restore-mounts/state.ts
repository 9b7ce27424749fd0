import { isLive, type RestoreMountState } from '#domain/restore-mount/restore-mount.ts';

/** The next thing to do for a mount; there is one at a time. */
export type Intent = 'mount' | 'unmount' | 'release-slot';

/** What is still owed, from recorded facts alone: the same answer before and after a crash. */
export const owed = (state: RestoreMountState): Intent | undefined => {
  switch (state.status) {
    case 'mounting':
      return 'mount';
    case 'unmounting':
      return 'unmount';
    case 'unmounted':
      return 'release-slot';
    case 'none':
    case 'mounted':
    // It waits for the sweep, the next mount of the disk, or whoever asks again: trying at once would fail at once.
    case 'failed':
      return undefined;
  }
};

/** How often a sweep tries to take down what could not be. Whoever asks, and a start of the hub, always may. */
export const maxUnmountAttempts = 3;

/** Whether a sweep should try to take a mount down again. */
export const deservesRetry = (state: RestoreMountState): boolean =>
  state.status === 'failed' && state.unmountAttempts < maxUnmountAttempts;

export const mayExpire = isLive;
