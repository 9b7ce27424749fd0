import { backupDecider } from '#domain/backup/decide.ts';
import type { BackupState, KnownBackup } from '#domain/backup/state.ts';
import { DomainError } from '#domain/errors.ts';
import { streamOf } from '#domain/streams.ts';
import { createStreamWatch, type StreamWatchDeps } from './stream-watch.ts';

/** Longer than the node appliance may take to accept a job (30 s) and the exports to start. */
const patienceMs = 60_000;

/** Waits until a job has come to a state, whichever hub brings it there, and until the read model shows it. */
export const createJobWatch = (deps: Omit<StreamWatchDeps, 'patienceMs'>) => {
  const watch = createStreamWatch({ ...deps, patienceMs });
  return async (backupId: string, until: (job: KnownBackup) => boolean, signal: AbortSignal): Promise<KnownBackup> => {
    const job = {
      stream: streamOf.backup(backupId),
      decider: backupDecider,
      until: (state: BackupState) => state.status !== 'none' && until(state),
    };
    const state = await watch(job, signal);
    if (state.status !== 'none') return state;
    throw new DomainError('backup-not-found', `there is no backup ${backupId}`, { backupId });
  };
};
