import { type DiskRestoreState, hasEnded, type KnownDiskRestore } from '#domain/disk-restore/disk-restore.ts';

/** The next thing to do for a restore. */
export type Intent = 'copy' | 'publish' | 'cancel' | 'give-up';

/** A copy that takes its hub down with it must not do so for ever. */
const maxAttempts = 4;

/** What is still owed, from recorded facts alone: the same answer before and after a crash. */
export const owed = (state: DiskRestoreState): Intent | undefined => {
  if (state.status === 'none' || hasEnded(state)) return undefined;
  const { status, cancelRequested, attempts } = state as KnownDiskRestore;
  if (status === 'copied') return 'publish';
  if (cancelRequested) return 'cancel';
  return attempts >= maxAttempts ? 'give-up' : 'copy';
};
