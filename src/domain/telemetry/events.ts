import type { Versions } from '../event-versions.ts';

export type DiskProgress = Readonly<{
  index: number;
  bytesTransferred: number;
  totalBytes: number;
  percent: number;
  status: 'pending' | 'transferring' | 'transferred' | 'failed';
}>;

/** What is known of a job's progress after all reports so far. Bytes, bytes per second, seconds, 0..100. */
export type Progress = Readonly<{
  phase: string;
  bytesTransferred: number;
  totalBytes: number;
  speedBps: number;
  etaSeconds: number;
  percent: number;
  disks: readonly DiskProgress[];
}>;

export type ReportStatus = 'running' | 'completed' | 'failed' | 'stalled';

export type ProgressReported = Readonly<{
  type: 'ProgressReported';
  data: Readonly<{
    jobId: string;
    /** When the hub received it. */
    at: string;
    status: ReportStatus;
    error: string | null;
    /** The sender's clock of the newest report whose numbers counted; null before the first. */
    senderTimestamp: string | null;
    /** Tells an exact repeat of the report from a new one. */
    fingerprint: string;
    progress: Progress;
  }>;
}>;

/** One stream per job, bounded by its metadata and truncated when the job has ended. */
export type TelemetryEvent = ProgressReported;

export const telemetryEventVersions: Versions<TelemetryEvent> = { ProgressReported: 1 };
