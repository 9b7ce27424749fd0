import { handle, load } from '#commands/handle.ts';
import { newestEventOf } from '#commands/newest-event.ts';
import type { Clock, CommandContext, EventStore, Ids } from '#commands/ports.ts';
import {
  type DiskRestoreCommand,
  diskRestoreDecider,
  type KnownDiskRestore,
} from '#domain/disk-restore/disk-restore.ts';
import type { RestoreFailureKind } from '#domain/disk-restore/events.ts';
import { nameOfTarget, placeOf } from '#domain/disk-restore/target.ts';
import { DomainError } from '#domain/errors.ts';
import { streamOf } from '#domain/streams.ts';
import type { StepObserver } from '../ports.ts';
import { type DiskCopier, type OnProgress, RestoreFailure } from './ports.ts';
import type { Slots } from './slots.ts';
import { owed } from './state.ts';

export type DiskRestoresDeps = Readonly<{
  store: EventStore;
  clock: Clock;
  ids: Ids;
  copier: DiskCopier;
  /** Told when a step of progress is not recorded; the copy goes on. */
  onProblem: (error: unknown) => void;
  steps?: StepObserver;
}>;

/** One look at one restore. */
type Work = Readonly<{
  job: KnownDiskRestore;
  deps: DiskRestoresDeps;
  context: CommandContext;
  /** Aborts when the hub stops. */
  stopping: AbortSignal;
  /** Aborts when somebody has asked for the end of this restore. */
  cancelled: AbortSignal;
  /** Where a restore writes right now, and which one. */
  places: Map<string, string>;
  slots: Slots;
}>;

const targetOf = (restoreId: string) => ({ decider: diskRestoreDecider, stream: streamOf.diskRestore(restoreId) });

const tell = ({ deps, context, job }: Work, command: DiskRestoreCommand) =>
  handle(deps.store, targetOf(job.restoreId), command, { ...context, commandId: deps.ids.uuid() });

const idOf = ({ job, deps }: Work) => ({ restoreId: job.restoreId, at: deps.clock.now() });

const fail = async (work: Work, kind: RestoreFailureKind, reason: string): Promise<void> => {
  await work.deps.copier.discard(work.job);
  await tell(work, { type: 'FailDiskRestore', data: { ...idOf(work), kind, reason } });
};

const cancel = async (work: Work): Promise<void> => {
  await work.deps.copier.discard(work.job);
  await tell(work, { type: 'RecordCancel', data: idOf(work) });
};

/** One event after the other; the copy never waits for them. */
const progressOf = (work: Work): Readonly<{ report: OnProgress; settled: () => Promise<void> }> => {
  let last: Promise<unknown> = Promise.resolve();
  let told = '';
  return {
    report: (phase, percent) => {
      const step = `${phase} ${Math.floor(percent / 10)}`;
      if (step === told) return;
      told = step;
      last = last
        .then(() => tell(work, { type: 'RecordProgress', data: { ...idOf(work), phase, percent } }))
        .catch(work.deps.onProblem);
    },
    settled: async () => {
      await last;
    },
  };
};

const failureOf = (error: unknown): Readonly<{ kind: RestoreFailureKind; reason: string }> => {
  if (error instanceof RestoreFailure) return { kind: error.kind, reason: error.message };
  if (error instanceof DomainError) return { kind: 'target', reason: error.message };
  return { kind: 'unexpected', reason: error instanceof Error ? error.message : String(error) };
};

type Outcome = Readonly<{ file: string | null }> | Readonly<{ error: unknown }>;

/** What goes wrong with the log is thrown, and tried again; what goes wrong with the copy is its outcome. */
const copyInTurn = async (work: Work): Promise<Outcome> => {
  const signal = AbortSignal.any([work.stopping, work.cancelled]);
  const turn = await work.slots.enter(signal).catch((error: unknown) => ({ error }));
  if (typeof turn !== 'function') return turn;
  try {
    await tell(work, { type: 'RecordStart', data: idOf(work) });
    const progress = progressOf(work);
    const copied = work.deps.copier.copy(work.job, progress.report, signal);
    const outcome = await copied.then(
      (file) => ({ file }),
      (error: unknown) => ({ error }),
    );
    await progress.settled();
    return outcome;
  } finally {
    turn();
  }
};

const copyAlone = async (work: Work): Promise<void> => {
  const { job, stopping, cancelled } = work;
  const outcome = await copyInTurn(work);
  if ('file' in outcome) {
    await tell(work, { type: 'RecordCopy', data: { ...idOf(work), file: outcome.file, verified: job.verify } });
    return;
  }
  if (cancelled.aborted) return cancel(work);
  stopping.throwIfAborted(); // the next hub begins anew
  const { kind, reason } = failureOf(outcome.error);
  await fail(work, kind, reason);
};

/** Two that write to the same place would mix; who comes second has to wait for nobody and is told so. */
const copy = async (work: Work): Promise<void> => {
  const { job, places } = work;
  const place = placeOf(job.target);
  const other = places.get(place);
  if (other !== undefined) {
    await fail(work, 'target', `the restore ${other} is writing to ${nameOfTarget(job.target)}`);
    return;
  }
  places.set(place, job.restoreId);
  try {
    await copyAlone(work);
  } finally {
    places.delete(place);
  }
};

const publish = async (work: Work): Promise<void> => {
  try {
    await work.deps.copier.publish(work.job);
  } catch (error) {
    if (!(error instanceof RestoreFailure || error instanceof DomainError)) throw error;
    const { kind, reason } = failureOf(error);
    return fail(work, kind, reason);
  }
  await tell(work, { type: 'CompleteDiskRestore', data: idOf(work) });
};

const perform = (intent: NonNullable<ReturnType<typeof owed>>, work: Work): Promise<void> => {
  switch (intent) {
    case 'copy':
      return copy(work);
    case 'publish':
      return publish(work);
    case 'cancel':
      return cancel(work);
    case 'give-up':
      return fail(work, 'hub-restart', `the hub ended ${work.job.attempts} times in the middle of it`);
  }
};

export type Look = Omit<Work, 'job' | 'context'> & Readonly<{ cause: string | undefined }>;

/** Does what a restore is owed until that is nothing. */
export const settle = async (restoreId: string, look: Look): Promise<void> => {
  const { deps, stopping } = look;
  const cause = look.cause ?? (await newestEventOf(deps.store, streamOf.diskRestore(restoreId)));
  const context: CommandContext = {
    ...{ actor: 'process:disk-restores', correlationId: restoreId, commandId: deps.ids.uuid() },
    ...(cause === undefined ? {} : { causationId: cause }),
  };
  for (;;) {
    stopping.throwIfAborted();
    const { state } = await load(deps.store, diskRestoreDecider, streamOf.diskRestore(restoreId));
    const intent = owed(state);
    if (intent === undefined) return;
    const work: Work = { ...look, job: state as KnownDiskRestore, context };
    const facts = { processManager: 'disk-restores', jobId: restoreId, step: intent };
    await (deps.steps?.step(facts, () => perform(intent, work)) ?? perform(intent, work));
  }
};
