import { handle, load } from '#commands/handle.ts';
import { newestEventOf } from '#commands/newest-event.ts';
import type { Clock, EventStore, Ids } from '#commands/ports.ts';
import { backupDecider } from '#domain/backup/decide.ts';
import { isFinalising } from '#domain/backup/state.ts';
import { streamOf } from '#domain/streams.ts';
import { telemetryDecider } from '#domain/telemetry/decide.ts';
import { runnerContext } from './backup-runner/deps.ts';

export type StaleLimits = Readonly<{
  stalledSeconds: number;
  failedSeconds: number;
  /** For jobs that never sent telemetry: the client is silent while it enables tracking and takes the snapshot. */
  neverHeardSeconds: number;
}>;

export type OpenBackup = Readonly<{
  backupId: string;
  status: 'running' | 'stalled';
  /** The latest of start, telemetry and change ids. */
  lastActivityAt: string;
  heard: boolean;
}>;

type Verdict = 'alive' | 'stalled' | 'failed';

/** Silence is counted from the hub's own start at the earliest: while it was away it could not hear anybody. */
export const judge = (
  job: OpenBackup,
  times: Readonly<{ now: string; hubStartedAt: string }>,
  limits: StaleLimits,
): Readonly<{ verdict: Verdict; silentSeconds: number }> => {
  const since = job.lastActivityAt > times.hubStartedAt ? job.lastActivityAt : times.hubStartedAt;
  const silentSeconds = Math.floor((Date.parse(times.now) - Date.parse(since)) / 1000);
  if (silentSeconds > (job.heard ? limits.failedSeconds : limits.neverHeardSeconds)) {
    return { verdict: 'failed', silentSeconds };
  }
  return { verdict: silentSeconds > limits.stalledSeconds ? 'stalled' : 'alive', silentSeconds };
};

type Deps = Readonly<{
  store: EventStore;
  clock: Clock;
  ids: Ids;
  openBackups: () => Promise<readonly OpenBackup[]>;
  hubStartedAt: string;
  limits: StaleLimits;
}>;

/** `62` to `1m2s`. */
const duration = (seconds: number): string =>
  seconds < 60 ? `${seconds}s` : `${Math.floor(seconds / 60)}m${seconds % 60}s`;

const sweepOne = async (deps: Deps, listed: OpenBackup): Promise<void> => {
  const { store, clock, ids, hubStartedAt, limits } = deps;
  const { backupId } = listed;
  // The list may lag: the newest report is asked of the log itself before a job is ended.
  const { state: telemetry } = await load(store, telemetryDecider, streamOf.telemetry(backupId));
  const job = telemetry && telemetry.at > listed.lastActivityAt ? { ...listed, lastActivityAt: telemetry.at } : listed;
  const now = clock.now();
  const { verdict, silentSeconds } = judge({ ...job, heard: telemetry !== null }, { now, hubStartedAt }, limits);
  if (verdict === 'alive') return;
  const target = { decider: backupDecider, stream: streamOf.backup(backupId) };
  // Once all data is in, the client has nothing more to say; the rest is the hub's own work.
  if (isFinalising((await load(store, target.decider, target.stream)).state)) return;
  const reason = `Job stalled - no telemetry for ${duration(silentSeconds)}`;
  const cause = await newestEventOf(store, target.stream);
  const context = { ...runnerContext(ids, backupId, cause), actor: 'process:stale-detector' };
  const command =
    verdict === 'failed'
      ? ({ type: 'FailBackup', data: { backupId, kind: 'silence', reason, at: now } } as const)
      : ({ type: 'MarkStalled', data: { backupId, reason, at: now } } as const);
  await handle(store, target, command, context);
};

/** One sweep over all running backups; the caller repeats it. One that cannot be judged does not hide the others. */
export const createStaleSweep = (deps: Deps) => async (): Promise<void> => {
  const errors: unknown[] = [];
  for (const listed of await deps.openBackups()) {
    await sweepOne(deps, listed).catch((error: unknown) => errors.push(error));
  }
  if (errors.length > 0) throw new AggregateError(errors, 'backups that could not be judged');
};
