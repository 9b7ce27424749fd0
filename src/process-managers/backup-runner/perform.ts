import { load } from '#commands/handle.ts';
import { newestEventOf } from '#commands/newest-event.ts';
import type { CommandContext } from '#commands/ports.ts';
import { backupDecider, type StepEvent } from '#domain/backup/decide.ts';
import { type BackupState, evolve, type KnownBackup } from '#domain/backup/state.ts';
import { streamOf } from '#domain/streams.ts';
import { type BackupRunnerDeps, causeOf, runnerContext, tellJob, type Work } from './deps.ts';
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

const performObserved = (intent: Intent, work: Work): Promise<readonly StepEvent[]> => {
  const facts = { processManager: 'backup-runner', jobId: work.job.backupId, step: intent.do };
  return work.deps.steps?.step(facts, () => perform(intent, work)) ?? perform(intent, work);
};

type Performed = PromiseSettledResult<readonly StepEvent[]>;

const stepsOf = (results: readonly Performed[]): readonly StepEvent[] =>
  results.flatMap((result) => (result.status === 'fulfilled' ? result.value : []));

/**
 * Exports follow their images without a record in between: all are found again by their names, and the record of each
 * round costs the start of every backup a write to the log.
 */
const performRound = async (intents: readonly Intent[], work: Work): Promise<readonly Performed[]> => {
  const results = await Promise.allSettled(intents.map((intent) => performObserved(intent, work)));
  if (!isStarting(intents) || results.some(({ status }) => status === 'rejected')) return results;
  const job = stepsOf(results).reduce<BackupState>(evolve, work.job) as KnownBackup;
  const exports = owed(job).filter((intent) => intent.do === 'start-export');
  return [
    ...results,
    ...(await Promise.allSettled(exports.map((intent) => performObserved(intent, { ...work, job })))),
  ];
};

/**
 * What was done is recorded even when something beside it failed: it must be freed later. Returns the job as its steps left
 * it, or undefined when others may have written to it as well.
 */
const performAll = async (intents: readonly Intent[], work: Work): Promise<BackupState | undefined> => {
  const { job, deps, context, signal } = work;
  const { backupId } = job;
  const results = await performRound(intents, work);
  const steps = stepsOf(results);
  const told =
    steps.length > 0
      ? await tellJob(deps, { type: 'RecordSteps', data: { backupId, steps, at: deps.clock.now() } }, context)
      : undefined;
  const errors = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []));
  const failure = errors.find((error) => error instanceof JobFailure);
  // What fails while the hub stops proves nothing about the job: the next start finds out.
  if (failure && !signal.aborted) {
    const { kind, message: reason, facts } = failure;
    const data = { backupId, kind, reason, facts, at: deps.clock.now() };
    return (await tellJob(deps, { type: 'FailBackup', data }, context)).state;
  }
  if (errors.length > 0) throw errors[0];
  // Some intents tell the job themselves, and return no steps.
  return results.every((result) => result.status === 'fulfilled' && result.value.length > 0) ? told?.state : undefined;
};

/** The vault is asked while images and exports come into being, not after them. */
const prefetchLogin = (job: KnownBackup, deps: BackupRunnerDeps, cause: CommandContext): BackupRunnerDeps => {
  let login: ReturnType<BackupRunnerDeps['vault']['loginOf']> | undefined;
  const loginOf = (credentialId: number) => {
    login ??= deps.vault.loginOf(credentialId, causeOf(cause));
    return login;
  };
  // Whoever needs it hears why it failed; until then nobody listens.
  loginOf(job.credentialId).catch(() => undefined);
  return { ...deps, vault: { loginOf } };
};

const isStarting = (intents: readonly Intent[]): boolean => intents.some(({ do: step }) => step === 'create-image');

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
  let known: BackupState | undefined;
  let using = deps;
  let cause = causationId;
  while (!signal.aborted) {
    const state = known ?? (await load(deps.store, backupDecider, streamOf.backup(backupId))).state;
    if (state.status === 'none') return;
    const intents = owed(state);
    if (intents.length === 0) return;
    cause ??= await newestEventOf(deps.store, streamOf.backup(backupId));
    const context = runnerContext(deps.ids, backupId, cause);
    if (isStarting(intents)) using = prefetchLogin(state, deps, context);
    known = await performAll(intents, { job: state, deps: using, context, signal });
  }
};
