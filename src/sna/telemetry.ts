import type { Logger } from 'pino';
import type { TelemetryDisk, TelemetryPost } from '#wire/client-callbacks.ts';
import type { HubClient } from './hub-client.ts';
import type { JobFailure } from './job-failure.ts';
import { diskPercent, type JobRecord, rfc3339, totalsOf } from './job-record.ts';

const everyMs = 5_000;
const everyPoints = 10;
// Each post costs the hub an event and rows: a quick copy makes ten points in no time, and a phase that is over at once is no news.
const pointsNotWithinMs = 500;
const phaseLastsMs = 100;
const lookEveryMs = 100;
const lastPostTimeoutMs = 2_000;

const telemetryDisk = (job: JobRecord): readonly TelemetryDisk[] =>
  job.disks.map((disk) => ({
    disk_index: disk.index,
    bytes_transferred: disk.transferredBytes,
    total_bytes: disk.totalBytes,
    progress_percent: diskPercent(disk),
    status: disk.status,
    ...(disk.error === undefined ? {} : { error_message: disk.error }),
  }));

/** The job's numbers are those of all its disks together; each disk has its own entry. */
export const telemetryOf = (job: JobRecord, nowMs: number): TelemetryPost => {
  const totals = totalsOf(job, nowMs);
  return {
    job_id: job.request.job_id,
    job_type: 'backup',
    status: 'running',
    current_phase: job.phase,
    bytes_transferred: totals.transferredBytes,
    total_bytes: totals.totalBytes,
    transfer_speed_bps: totals.speedBps,
    eta_seconds: totals.etaSeconds,
    progress_percent: totals.percent,
    disks: [...telemetryDisk(job)],
    timestamp: new Date(nowMs).toISOString(),
  };
};

export const failureTelemetry = (running: TelemetryPost, failure: JobFailure, nowMs: number): TelemetryPost => ({
  ...running,
  status: 'failed',
  error: { message: failure.message, code: failure.code, timestamp: rfc3339(nowMs) },
});

/**
 * Tells the hub how a job gets on: in every phase that lasts, and else every 5 s or 10 points. One post at a time, each with the newest numbers; a post that fails is logged and never repeated, the next one follows soon.
 */
export class TelemetryReporter {
  readonly #job: JobRecord;
  readonly #hub: HubClient;
  readonly #log: Logger;
  readonly #stop = new AbortController();
  readonly #timer: NodeJS.Timeout;
  #sending: Promise<void> | undefined;
  #closed = false;
  #told: Readonly<{ phase: string; percent: number; atMs: number }>;

  constructor(job: JobRecord, hub: HubClient, log: Logger) {
    this.#job = job;
    this.#hub = hub;
    this.#log = log;
    this.#told = { phase: '', percent: 0, atMs: job.startedMs };
    this.#timer = setInterval(() => this.changed(), lookEveryMs);
  }

  /** The record changed; whether that is news is decided here. */
  changed(): void {
    if (this.#sending !== undefined || this.#closed || !this.#isDue()) return;
    this.#sending = this.#send().finally(() => {
      this.#sending = undefined;
      this.changed();
    });
  }

  #isDue(): boolean {
    const nowMs = Date.now();
    const phaseSinceMs = this.#job.phases.at(-1)?.startedMs ?? nowMs;
    if (this.#job.phase !== this.#told.phase && nowMs - phaseSinceMs >= phaseLastsMs) return true;
    const silentMs = nowMs - this.#told.atMs;
    if (silentMs >= everyMs) return true;
    return silentMs >= pointsNotWithinMs && totalsOf(this.#job, nowMs).percent - this.#told.percent >= everyPoints;
  }

  async #send(): Promise<void> {
    const nowMs = Date.now();
    const body = telemetryOf(this.#job, nowMs);
    // Told even when it fails: a hub that is away is not asked more often than one that is there.
    this.#told = { phase: this.#job.phase, percent: body.progress_percent ?? 0, atMs: nowMs };
    try {
      await this.#hub.postTelemetry(this.#job.request.job_id, body, this.#stop.signal);
    } catch (error) {
      if (this.#stop.signal.aborted) return;
      const reason = error instanceof Error ? error.message : String(error);
      this.#log.warn({ jobId: this.#job.request.job_id, reason }, 'telemetry not delivered');
    }
  }

  /** After this nothing more is sent, so that what the caller tells next is the last word. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    const giveUp = setTimeout(() => this.#stop.abort(), lastPostTimeoutMs);
    this.#closed = true;
    await this.#sending;
    clearTimeout(giveUp);
  }
}
