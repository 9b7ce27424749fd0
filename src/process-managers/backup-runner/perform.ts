import { load } from '#commands/handle.ts';
import { backupDecider, type StepEvent } from '#domain/backup/decide.ts';
import { streamOf } from '#domain/streams.ts';
import { type BackupRunnerDeps, runnerContext, tellJob, type Work } from './deps.ts';
import {
  cancelTransfer,
  close,
  complete,
  deleteImage,
  rejectImage,
  releasePorts,
  remove,
  stopExport,
} from './end-steps.ts';
import { assignPorts, createImage, JobFailure, requestTransfer, resolveTransfer, startExport } from './start-steps.ts';
import { type Intent, owed } from './state.ts';

/** Effect first, then its outcome as a fact. Throws only what is worth a retry; the intent stays owed. */
const perform = async (intent: Intent, work: Work): Promise<readonly StepEvent[]> => {
  switch (intent.do) {
    case 'assign-ports':
      return assignPorts(intent.disks, work);
    case 'create-image':
      return createImage(intent.disk, work);
    case 'start-export':
      return startExport(intent.disk, intent.port, work);
    case 'request-transfer':
      return requestTransfer(work);
    case 'resolve-transfer':
      return resolveTransfer(work);
    case 'stop-export':
      return stopExport(intent.disk, work);
    case 'release-ports':
      return releasePorts(work);
    case 'cancel-transfer':
      return cancelTransfer(work);
    case 'delete-image':
      return deleteImage(intent.disk, work);
    case 'reject-image':
      await rejectImage(intent.disk, work);
      return [];
    case 'complete':
      await complete(work);
      return [];
    case 'close':
      await close(work);
      return [];
    case 'remove':
      await remove(work);
      return [];
  }
};

/** What was done is recorded even when something beside it failed: it must be freed later. */
const performAll = async (intents: readonly Intent[], work: Work): Promise<void> => {
  const { job, deps, context, signal } = work;
  const { backupId } = job;
  const results = await Promise.allSettled(intents.map((intent) => perform(intent, work)));
  const steps = results.flatMap((result) => (result.status === 'fulfilled' ? result.value : []));
  if (steps.length > 0) {
    await tellJob(deps, { type: 'RecordSteps', data: { backupId, steps, at: deps.clock.now() } }, context);
  }
  const errors = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []));
  const failure = errors.find((error) => error instanceof JobFailure);
  // What fails while the hub stops proves nothing about the job: the next start finds out.
  if (failure && !signal.aborted) {
    const { kind, message: reason, facts } = failure;
    const data = { backupId, kind, reason, facts, at: deps.clock.now() };
    await tellJob(deps, { type: 'FailBackup', data }, context);
    return;
  }
  if (errors.length > 0) throw errors[0];
};

/**
 * Brings one job as far as it gets without waiting for anybody: fold, derive what is owed, do it, record it, again. May be
 * called at any time, also for a job that is unknown or long over. Throws what is worth a retry.
 */
export const settle = async (
  backupId: string,
  deps: BackupRunnerDeps,
  causationId: string | undefined,
  signal: AbortSignal,
): Promise<void> => {
  while (!signal.aborted) {
    const { state } = await load(deps.store, backupDecider, streamOf.backup(backupId));
    if (state.status === 'none') return;
    const intents = owed(state);
    if (intents.length === 0) return;
    const context = runnerContext(deps.ids, backupId, causationId);
    await performAll(intents, { job: state, deps, context, signal });
  }
};
