import type { Decider } from '../decider.ts';
import type { DiskProgress, Progress, ProgressReported, ReportStatus, TelemetryEvent } from './events.ts';

/** One message of a client, decoded and clamped: unknown numbers are 0, unknown texts are empty. */
export type Report = Readonly<{
  status: ReportStatus;
  phase: string;
  bytesTransferred: number;
  totalBytes: number;
  speedBps: number;
  etaSeconds: number;
  percent: number;
  disks: readonly ReportedDisk[];
  error: string | null;
  /** The sender's clock, ISO 8601 UTC; null when missing or unreadable, which counts as now. */
  timestamp: string | null;
}>;

/** What a report says of one disk. */
export type ReportedDisk = DiskProgress;

/** The job as its own stream tells it. */
export type ReportingJob = Readonly<{
  backupType: 'full' | 'incremental';
  disks: readonly Readonly<{ index: number; capacityBytes: number; transferred: boolean }>[];
}>;

export type ReportProgress = Readonly<{
  type: 'ReportProgress';
  data: Readonly<{
    jobId: string;
    at: string;
    fingerprint: string;
    job: ReportingJob;
    report: Report;
    /** The disk that all numbers describe, when the sender named one by its own id. */
    onlyDisk: number | null;
  }>;
}>;

export type TelemetryState = ProgressReported['data'] | null;

/** The client's last message carries zeros for everything: nothing known is replaced by nothing. */
const keep = (reported: number, known: number): number => (reported > 0 ? reported : known);

const initialProgress = (job: ReportingJob): Progress => ({
  ...{ phase: 'pending', bytesTransferred: 0, totalBytes: 0, speedBps: 0, etaSeconds: 0, percent: 0 },
  disks: job.disks.map(({ index }) => ({ index, bytesTransferred: 0, totalBytes: 0, percent: 0, status: 'pending' })),
});

const mergeDisk = (known: DiskProgress, reported: ReportedDisk): DiskProgress => {
  const transferred = known.status === 'transferred' || reported.status === 'transferred';
  return {
    index: known.index,
    bytesTransferred: keep(reported.bytesTransferred, known.bytesTransferred),
    totalBytes: keep(reported.totalBytes, known.totalBytes),
    percent: transferred ? 100 : Math.max(reported.percent, known.percent),
    status: transferred ? 'transferred' : reported.status,
  };
};

/**
 * A report without disk entries speaks of the disk that is being copied: the lowest that has not arrived. Clients copy one
 * disk after another and their numbers are the current disk's.
 */
const activeDisk = (progress: Progress, job: ReportingJob): number | undefined =>
  progress.disks.find(
    (disk) =>
      disk.status !== 'transferred' && !job.disks.find((candidate) => candidate.index === disk.index)?.transferred,
  )?.index;

const asDisk = (index: number, report: Report): ReportedDisk => ({
  index,
  bytesTransferred: report.bytesTransferred,
  totalBytes: report.totalBytes,
  percent: report.percent,
  status: report.status === 'completed' ? 'transferred' : 'transferring',
});

const totalOf = (disk: DiskProgress, job: ReportingJob): number => {
  if (disk.totalBytes > 0 || job.backupType === 'incremental') return disk.totalBytes;
  return job.disks.find(({ index }) => index === disk.index)?.capacityBytes ?? 0;
};

/** By capacity: a small disk that is done says little about a large one that is not. */
const weightedPercent = (disks: readonly DiskProgress[], job: ReportingJob): number => {
  const capacity = job.disks.reduce((sum, disk) => sum + disk.capacityBytes, 0);
  if (capacity === 0) return 0;
  const done = job.disks.reduce((sum, { index, capacityBytes }) => {
    const percent = disks.find((disk) => disk.index === index)?.percent ?? 0;
    return sum + percent * capacityBytes;
  }, 0);
  return done / capacity;
};

const sum = (numbers: readonly number[]): number => numbers.reduce((total, value) => total + value, 0);

type Numbers = Pick<Progress, 'bytesTransferred' | 'totalBytes' | 'percent'>;

/** Whose numbers the top level of a report holds: the job's when disks are listed (or there is one disk), else one disk's. */
const jobNumbers = (progress: Progress, disks: readonly DiskProgress[], job: ReportingJob, report: Report): Numbers => {
  const ofDisks: Numbers = {
    bytesTransferred: sum(disks.map((disk) => disk.bytesTransferred)),
    totalBytes: sum(disks.map((disk) => totalOf(disk, job))),
    percent: weightedPercent(disks, job),
  };
  if (report.disks.length === 0) return ofDisks;
  return {
    bytesTransferred: keep(report.bytesTransferred, Math.max(ofDisks.bytesTransferred, progress.bytesTransferred)),
    totalBytes: keep(report.totalBytes, progress.totalBytes > 0 ? progress.totalBytes : ofDisks.totalBytes),
    percent: keep(report.percent, ofDisks.percent),
  };
};

const merge = (progress: Progress, data: ReportProgress['data']): Progress => {
  const { job, report, onlyDisk } = data;
  const active = onlyDisk ?? activeDisk(progress, job);
  const listed = report.disks.length > 0 && onlyDisk === null;
  const reported = listed ? report.disks : active === undefined ? [] : [asDisk(active, report)];
  const disks = progress.disks.map((disk) => {
    const update = reported.find(({ index }) => index === disk.index);
    return update ? mergeDisk(disk, update) : disk;
  });
  const numbers = jobNumbers(progress, disks, job, listed ? report : { ...report, disks: [] });
  return {
    phase: report.phase === '' ? progress.phase : report.phase,
    bytesTransferred: Math.max(numbers.bytesTransferred, progress.bytesTransferred),
    totalBytes: keep(numbers.totalBytes, progress.totalBytes),
    speedBps: keep(report.speedBps, progress.speedBps),
    etaSeconds: report.status === 'completed' ? 0 : report.etaSeconds,
    // Never backwards while the job runs: a bar that jumps back looks like lost data.
    percent: Math.min(100, Math.max(numbers.percent, progress.percent)),
    disks,
  };
};

/**
 * The disks that an outdated report says are done: its numbers are dropped, what it tells of the end still counts. One that
 * names no disk of several counts for none: which disk it meant is not known any more, and to end the wrong one is worse.
 */
const doneDisks = (progress: Progress, { report, onlyDisk }: ReportProgress['data']): readonly number[] => {
  const listed = onlyDisk === null ? report.disks : [];
  const [first, second] = progress.disks;
  const meant = onlyDisk ?? (second || listed.length > 0 ? undefined : first?.index);
  const done = listed.filter(({ status }) => status === 'transferred').map(({ index }) => index);
  return meant !== undefined && report.status === 'completed' ? [...done, meant] : done;
};

const markDone = (progress: Progress, data: ReportProgress['data']): Progress => {
  const done = doneDisks(progress, data);
  return {
    ...progress,
    disks: progress.disks.map((disk) =>
      done.includes(disk.index) ? { ...disk, status: 'transferred', percent: 100 } : disk,
    ),
  };
};

const decide = ({ data }: ReportProgress, state: TelemetryState): readonly TelemetryEvent[] => {
  const { jobId, at, fingerprint, report } = data;
  const known = state?.progress ?? initialProgress(data.job);
  // The same message twice must not count twice: a doubled `completed` would finish the next disk as well.
  const repeated = report.timestamp !== null && state?.fingerprint === fingerprint;
  const outdated =
    report.timestamp !== null && state?.senderTimestamp != null && report.timestamp < state.senderTimestamp;
  const progress = repeated ? known : outdated ? markDone(known, data) : merge(known, data);
  const senderTimestamp = outdated ? state.senderTimestamp : (report.timestamp ?? state?.senderTimestamp ?? null);
  return [
    {
      type: 'ProgressReported',
      data: { jobId, at, status: report.status, error: report.error, senderTimestamp, fingerprint, progress },
    },
  ];
};

/** Every event tells the whole progress: a report is decided on the newest one alone, however many came before. */
export const telemetryDecider: Decider<TelemetryState, ReportProgress, TelemetryEvent> = {
  initialState: null,
  decide,
  evolve: (_state, { data }) => data,
  isWholeState: () => true,
};
