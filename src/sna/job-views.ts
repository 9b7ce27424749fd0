import type { ProgressReply, StatusReply } from '#wire/node-api.ts';
import { diskPercent, type JobRecord, rfc3339, totalsOf } from './job-record.ts';

/** The job record in the words of the contract's progress and status replies. */

const mib = 1024 ** 2;
const gib = 1024 ** 3;

const operations: Readonly<Record<JobRecord['phase'], string>> = {
  snapshot: 'Creating Snapshot',
  transferring: 'Transferring Data',
  finalizing: 'Finalizing',
  completed: 'Completed',
};

const statusWord = ({ status }: JobRecord): string => (status === 'running' ? 'in_progress' : status);

const timing = (job: JobRecord, nowMs: number, etaSeconds: number): ProgressReply['timing'] => {
  const endMs = job.status === 'running' ? nowMs : job.updatedMs;
  const phaseStartMs = job.phases.at(-1)?.startedMs ?? job.startedMs;
  return {
    start_time: job.startedAt,
    last_update: rfc3339(job.updatedMs),
    elapsed_ms: Math.round(endMs - job.startedMs),
    phase_start: rfc3339(phaseStartMs),
    phase_elapsed_ms: Math.round(endMs - phaseStartMs),
    eta_seconds: etaSeconds,
  };
};

const phases = (job: JobRecord, nowMs: number): ProgressReply['phases'] =>
  job.phases.map(({ name, startedMs, endedMs }) => ({
    name,
    status: endedMs === undefined ? statusWord(job) : 'completed',
    start_time: rfc3339(startedMs),
    end_time: endedMs === undefined ? '' : rfc3339(endedMs),
    duration_ms: Math.round((endedMs ?? nowMs) - startedMs),
  }));

const diskProgresses = (job: JobRecord, nowMs: number): ProgressReply['disk_progresses'] =>
  job.disks.map((disk) => {
    const seconds = disk.startedMs === undefined ? 0 : ((disk.endedMs ?? nowMs) - disk.startedMs) / 1000;
    return {
      disk_id: `disk-${disk.key}`,
      label: disk.label,
      bytes_transferred: disk.transferredBytes,
      total_bytes: disk.totalBytes,
      percent: diskPercent(disk),
      throughput_mbps: seconds > 0 ? disk.transferredBytes / mib / seconds : 0,
      status: disk.status,
    };
  });

export const progressReply = (job: JobRecord, nowMs: number): ProgressReply => {
  const totals = totalsOf(job, nowMs);
  const sizeBytes = job.disks.reduce((sum, { capacityBytes }) => sum + capacityBytes, 0);
  const mbps = totals.speedBps / mib;
  const error = job.failure?.message;
  return {
    job_id: job.request.job_id,
    status: statusWord(job),
    sync_type: job.request.backup_type,
    phase: job.phase,
    percentage: totals.percent,
    current_operation: operations[job.phase],
    bytes_transferred: totals.transferredBytes,
    total_bytes: totals.totalBytes,
    throughput: {
      current_mbps: mbps,
      average_mbps: mbps,
      peak_mbps: Math.max(job.peakBps / mib, mbps),
      last_update: rfc3339(job.updatedMs),
    },
    timing: timing(job, nowMs, totals.etaSeconds),
    vm_info: {
      name: job.request.vm_name,
      path: job.request.vm_path,
      disk_size_gb: Math.ceil(sizeBytes / gib),
      disk_size_bytes: sizeBytes,
      cbt_enabled: true,
    },
    phases: phases(job, nowMs),
    errors: error === undefined ? [] : [error],
    last_error: error ?? null,
    ...(job.disks.length === 0 ? {} : { disk_progresses: diskProgresses(job, nowMs) }),
  };
};

export const statusReply = (job: JobRecord, nowMs: number): StatusReply => ({
  job_id: job.request.job_id,
  status: statusWord(job),
  progress_percent: totalsOf(job, nowMs).percent,
  current_operation: operations[job.phase],
  start_time: job.startedAt,
  last_update: rfc3339(job.updatedMs),
  vm_path: job.request.vm_path,
});
