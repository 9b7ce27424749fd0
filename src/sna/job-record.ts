import type { BackupStartRequest } from '#wire/node-api.ts';
import type { JobFailure } from './job-failure.ts';

export type JobStatus = 'running' | 'completed' | 'failed' | 'cancelled';
export type JobPhase = 'snapshot' | 'transferring' | 'finalizing' | 'completed';
export type DiskStatus = 'pending' | 'transferring' | 'completed' | 'failed';

/** What identifies a request: the same job asked for twice, whatever password it came with. */
export type JobRequest = Pick<
  BackupStartRequest,
  'job_id' | 'vm_name' | 'vm_path' | 'nbd_targets' | 'backup_type' | 'previous_change_id'
>;

export type DiskRecord = {
  readonly index: number;
  readonly key: number;
  readonly label: string;
  readonly capacityBytes: number;
  status: DiskStatus;
  /** Bytes that have to be moved; the capacity until the extents are known. */
  totalBytes: number;
  transferredBytes: number;
  startedMs?: number;
  endedMs?: number;
  error?: string;
};

/** One backup run as the node knows it, changed only by its run. */
export type JobRecord = {
  readonly request: JobRequest;
  readonly startedAt: string;
  readonly startedMs: number;
  status: JobStatus;
  phase: JobPhase;
  readonly phases: { readonly name: JobPhase; readonly startedMs: number; endedMs?: number }[];
  disks: DiskRecord[];
  failure?: JobFailure;
  updatedMs: number;
  peakBps: number;
};

/** RFC 3339 in UTC, whole seconds. */
export const rfc3339 = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`;

export const newJobRecord = (request: JobRequest, nowMs: number): JobRecord => ({
  request,
  startedAt: rfc3339(nowMs),
  startedMs: nowMs,
  status: 'running',
  phase: 'snapshot',
  phases: [{ name: 'snapshot', startedMs: nowMs }],
  disks: [],
  updatedMs: nowMs,
  peakBps: 0,
});

export const enterPhase = (job: JobRecord, name: JobPhase, nowMs: number): void => {
  const last = job.phases.at(-1);
  if (last !== undefined) last.endedMs = nowMs;
  job.phases.push({ name, startedMs: nowMs });
  job.phase = name;
  job.updatedMs = nowMs;
};

export type JobTotals = Readonly<{
  transferredBytes: number;
  totalBytes: number;
  percent: number;
  speedBps: number;
  etaSeconds: number;
}>;

const maxEtaSeconds = 86_400;
export const percentOf = (part: number, whole: number): number => (whole === 0 ? 100 : (100 * part) / whole);

const isDone = ({ status }: DiskRecord) => status === 'completed';
export const diskPercent = (disk: DiskRecord): number =>
  disk.totalBytes === 0 && !isDone(disk) ? 0 : percentOf(disk.transferredBytes, disk.totalBytes);

export const totalsOf = (job: JobRecord, nowMs: number): JobTotals => {
  const sum = (pick: (disk: DiskRecord) => number) => job.disks.reduce((total, disk) => total + pick(disk), 0);
  const transferredBytes = sum((disk) => disk.transferredBytes);
  const totalBytes = sum((disk) => disk.totalBytes);
  const transfer = job.phases.find(({ name }) => name === 'transferring');
  const seconds = transfer === undefined ? 0 : ((transfer.endedMs ?? nowMs) - transfer.startedMs) / 1000;
  const speedBps = seconds > 0 ? Math.round(transferredBytes / seconds) : 0;
  const etaSeconds = speedBps > 0 ? Math.min(maxEtaSeconds, Math.ceil((totalBytes - transferredBytes) / speedBps)) : 0;
  const started = job.disks.length > 0 && (totalBytes > 0 || job.disks.every(isDone));
  return {
    transferredBytes,
    totalBytes,
    percent: started ? percentOf(transferredBytes, totalBytes) : 0,
    speedBps,
    etaSeconds,
  };
};
