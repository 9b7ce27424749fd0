import type { ProgressReply, ProgressUpdate, StatusReply } from '#wire/node-api.ts';
import { percentOf, rfc3339 } from './job-record.ts';

type ForeignJob = { startedMs: number; updatedMs: number; stageMs: number; last: ProgressUpdate; peakBps: number };

const keptJobs = 200;
const mib = 1024 ** 2;
const gib = 1024 ** 3;
const maxEtaSeconds = 86_400;

const percentIn = ({ percent, bytes_transferred, total_bytes }: ProgressUpdate): number =>
  percent ?? percentOf(bytes_transferred, Math.max(total_bytes ?? 0, bytes_transferred, 1));

const etaOf = ({ bytes_transferred, total_bytes = 0, throughput_bps }: ProgressUpdate): number =>
  throughput_bps > 0
    ? Math.min(maxEtaSeconds, Math.ceil(Math.max(0, total_bytes - bytes_transferred) / throughput_bps))
    : 0;

/** Progress of jobs whose client is not this node's own run; in memory only, as their clients expect. */
export class ForeignProgress {
  readonly #jobs = new Map<string, ForeignJob>();

  /** Whether this was the job's first word. */
  update(jobId: string, update: ProgressUpdate, nowMs: number): boolean {
    const known = this.#jobs.get(jobId);
    const sameStage = known?.last.stage === update.stage;
    this.#jobs.delete(jobId); // to the end: the one that was silent longest is dropped first
    this.#jobs.set(jobId, {
      startedMs: known?.startedMs ?? nowMs,
      stageMs: sameStage ? (known?.stageMs ?? nowMs) : nowMs,
      updatedMs: nowMs,
      last: update,
      peakBps: Math.max(known?.peakBps ?? 0, update.throughput_bps),
    });
    const oldest = this.#jobs.keys().next().value;
    if (this.#jobs.size > keptJobs && oldest !== undefined) this.#jobs.delete(oldest);
    return known === undefined;
  }

  progress(jobId: string, nowMs: number): ProgressReply | undefined {
    const job = this.#jobs.get(jobId);
    if (job === undefined) return undefined;
    const { last, startedMs, stageMs, updatedMs } = job;
    const status = last.status ?? 'in_progress';
    const mbps = last.throughput_bps / mib;
    const totalBytes = last.total_bytes ?? 0;
    const updatedAt = rfc3339(updatedMs);
    return {
      job_id: jobId,
      status,
      sync_type: last.sync_type ?? 'full',
      phase: last.stage,
      percentage: percentIn(last),
      current_operation: last.stage,
      bytes_transferred: last.bytes_transferred,
      total_bytes: totalBytes,
      throughput: { current_mbps: mbps, average_mbps: mbps, peak_mbps: job.peakBps / mib, last_update: updatedAt },
      timing: {
        start_time: rfc3339(startedMs),
        last_update: updatedAt,
        elapsed_ms: nowMs - startedMs,
        phase_start: rfc3339(stageMs),
        phase_elapsed_ms: nowMs - stageMs,
        eta_seconds: etaOf(last),
      },
      vm_info: {
        name: 'unknown',
        path: 'unknown',
        disk_size_gb: Math.ceil(totalBytes / gib),
        disk_size_bytes: totalBytes,
        cbt_enabled: true,
      },
      phases: [{ name: last.stage, status, start_time: rfc3339(stageMs), end_time: '', duration_ms: nowMs - stageMs }],
      errors: last.error_message === undefined ? [] : [last.error_message],
      last_error: last.error_message ?? null,
    };
  }

  status(jobId: string): StatusReply | undefined {
    const job = this.#jobs.get(jobId);
    if (job === undefined) return undefined;
    return {
      job_id: jobId,
      status: job.last.status ?? 'in_progress',
      progress_percent: percentIn(job.last),
      current_operation: job.last.stage,
      start_time: rfc3339(job.startedMs),
      last_update: rfc3339(job.updatedMs),
    };
  }
}
