import type { KnownBackup } from '#domain/backup/state.ts';
import type { TelemetryState } from '#domain/telemetry/decide.ts';
import type { Loaded } from './handle.ts';

/** A job as its stream told it, by the id that its client reports under: its own, or that of one of its disks. */
export type ReportingJob = Readonly<{
  state: KnownBackup;
  onlyDisk: number | null;
  /** The event that the reports follow from. */
  causationId: string | undefined;
}>;

/**
 * What is known of the jobs that report right now, so that a report costs one append and no read. The newest report is
 * guarded by the revision that the append expects; the job itself is believed for a moment only, and not beyond an event
 * of its stream that comes by.
 */
export interface ReportingJobs {
  find(jobId: string, nowMs: number): ReportingJob | undefined;
  keep(jobId: string, job: ReportingJob, nowMs: number): void;
  newest(backupId: string): Loaded<TelemetryState> | undefined;
  keepNewest(backupId: string, loaded: Loaded<TelemetryState>): void;
  /** Something happened to the job: the next report reads it anew. */
  forget(backupId: string): void;
}

const believedForMs = 1_000;
/** More than ever report at once; the oldest go first. */
const mostJobs = 2_000;

const bounded = <V>(map: Map<string, V>, key: string, value: V): void => {
  map.delete(key);
  map.set(key, value);
  const [oldest] = map.keys();
  if (map.size > mostJobs && oldest !== undefined) map.delete(oldest);
};

export const createReportingJobs = (): ReportingJobs => {
  const jobs = new Map<string, Readonly<{ job: ReportingJob; untilMs: number }>>();
  const newest = new Map<string, Loaded<TelemetryState>>();
  return {
    find: (jobId, nowMs) => {
      const kept = jobs.get(jobId);
      return kept && nowMs < kept.untilMs ? kept.job : undefined;
    },
    keep: (jobId, job, nowMs) => bounded(jobs, jobId, { job, untilMs: nowMs + believedForMs }),
    newest: (backupId) => newest.get(backupId),
    keepNewest: (backupId, loaded) => bounded(newest, backupId, loaded),
    forget: (backupId) => {
      newest.delete(backupId);
      jobs.delete(backupId);
      // Few: the disks that report under ids of their own.
      for (const [jobId, { job }] of jobs) if (job.state.backupId === backupId) jobs.delete(jobId);
    },
  };
};
