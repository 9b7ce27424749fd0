import type { Versions } from '../event-versions.ts';
import type { BackupType, PointDisk } from '../restore-points/events.ts';
import type { Progress } from '../telemetry/events.ts';

/** One disk of a backup as it was when the backup began. */
export type BackupDisk = Readonly<{
  /** Position in the VM, 0, 1, …; what clients and people count by. */
  index: number;
  /** VMware's device key, 2000 + index in the regular case; what the backup client looks up. */
  key: number;
  capacityBytes: number;
  /** Where the source keeps it, e.g. `[ds1] pgtest1/pgtest1.vmdk`. */
  originalPath: string;
  exportName: string;
  imagePath: string;
  /** What the overlay is based on; null for a full backup. */
  base: PointDisk | null;
}>;

/** What failed: whose fault it is decides how the caller of StartBackup is answered. */
export type FailureKind =
  | 'repository'
  | 'ports-exhausted'
  | 'image'
  | 'export'
  | 'credential'
  | 'node-unreachable'
  | 'node-refused'
  | 'client'
  | 'silence'
  | 'unclean-image'
  | 'hub-restart';

/** `chart_data` of a job: one sample about every 30 s. */
export type PerformanceSample = Readonly<{ t: number; s: number; p: number; phase: string }>;

/** The profile of a transfer, rolled up from its telemetry when the job ended. Speeds in bytes per second. */
export type Performance = Readonly<{
  durationSeconds: number;
  snapshotsRecorded: number;
  peakSpeedBps: number;
  avgSpeedBps: number;
  minSpeedBps: number;
  chart: readonly PerformanceSample[];
}>;

/** What the raw telemetry, which goes with the job's end, leaves behind beside the profile: its bounds and its last word. */
export type TelemetrySummary = Readonly<{ firstAt: string; lastAt: string; reports: number; last: Progress }>;

type OfBackup = Readonly<{ backupId: string; at: string }>;
type OfDisk = OfBackup & Readonly<{ diskIndex: number }>;

/** One stream per backup, from the request to the last freed resource: the job's audit trail. */
export type BackupEvent =
  | Readonly<{
      type: 'BackupStarted';
      data: OfBackup &
        Readonly<{
          vmContextId: string;
          vmName: string;
          vmPath: string;
          /** The history of this VM in this repository. */
          backupContextId: string;
          credentialId: number;
          repositoryId: string;
          repositoryPath: string;
          backupType: BackupType;
          parentBackupId: string | null;
          policyId: string | null;
          tags: Readonly<Record<string, string>>;
          disks: readonly BackupDisk[];
        }>;
    }>
  /** `emptyBytes`: what the file occupied before anything was written; the growth beyond it is data. */
  | Readonly<{ type: 'DiskImageCreated'; data: OfDisk & Readonly<{ imagePath: string; emptyBytes: number }> }>
  | Readonly<{
      type: 'ExportPortsAssigned';
      data: OfBackup & Readonly<{ ports: readonly Readonly<{ diskIndex: number; port: number }>[] }>;
    }>
  | Readonly<{ type: 'ExportPortLost'; data: OfDisk & Readonly<{ port: number; reason: string }> }>
  | Readonly<{
      type: 'DiskExportStarted';
      data: OfDisk &
        Readonly<{ port: number; pid: number; exportName: string; imagePath: string; sharedConnections: number }>;
    }>
  | Readonly<{ type: 'DiskExportDied'; data: OfDisk & Readonly<{ pid: number; detail: string }> }>
  /** `previousChangeId`: from where on the node was told to copy; null for a full backup, absent in what older hubs wrote. */
  | Readonly<{
      type: 'TransferRequested';
      data: OfBackup & Readonly<{ nbdTargets: string; previousChangeId?: string | null }>;
    }>
  | Readonly<{ type: 'TransferAccepted'; data: OfBackup & Readonly<{ nodePid: number | null }> }>
  | Readonly<{ type: 'BackupStalled'; data: OfBackup & Readonly<{ reason: string }> }>
  | Readonly<{ type: 'BackupResumed'; data: OfBackup }>
  | Readonly<{ type: 'DiskTransferred'; data: OfDisk & Readonly<{ bytesTransferred: number }> }>
  | Readonly<{ type: 'DiskChangeIdRecorded'; data: OfDisk & Readonly<{ changeId: string; bytesTransferred: number }> }>
  | Readonly<{
      type: 'DiskExportStopped';
      data: OfDisk & Readonly<{ outcome: 'clean' | 'unclean' | 'not-running'; detail: string }>;
    }>
  | Readonly<{ type: 'ExportPortsReleased'; data: OfBackup }>
  | Readonly<{
      type: 'BackupCompleted';
      data: OfBackup &
        Readonly<{
          bytesTransferred: number;
          totalBytes: number;
          disks: readonly Readonly<{ diskIndex: number; imageBytes: number; bytesTransferred: number }>[];
        }>;
    }>
  | Readonly<{
      type: 'BackupFailed';
      data: OfBackup &
        Readonly<{ kind: FailureKind; reason: string; facts: Readonly<Record<string, string | number>> }>;
    }>
  | Readonly<{
      type: 'TransferCancelled';
      data: OfBackup & Readonly<{ outcome: 'cancelled' | 'not-known' | 'unreachable' }>;
    }>
  | Readonly<{ type: 'DiskImageDeleted'; data: OfDisk & Readonly<{ imagePath: string }> }>
  /** `telemetry`: null when no report came, absent in what older hubs wrote. */
  | Readonly<{
      type: 'BackupClosed';
      data: OfBackup & Readonly<{ performance: Performance | null; telemetry?: TelemetrySummary | null }>;
    }>
  | Readonly<{ type: 'BackupRemovalRequested'; data: OfBackup }>
  | Readonly<{ type: 'BackupRemovalFailed'; data: OfBackup & Readonly<{ reason: string }> }>
  | Readonly<{ type: 'BackupRemoved'; data: OfBackup }>;

export type BackupEventOf<Type extends BackupEvent['type']> = Extract<BackupEvent, { type: Type }>;

export const backupEventVersions: Versions<BackupEvent> = {
  BackupStarted: 1,
  DiskImageCreated: 1,
  ExportPortsAssigned: 1,
  ExportPortLost: 1,
  DiskExportStarted: 1,
  DiskExportDied: 1,
  TransferRequested: 1,
  TransferAccepted: 1,
  BackupStalled: 1,
  BackupResumed: 1,
  DiskTransferred: 1,
  DiskChangeIdRecorded: 1,
  DiskExportStopped: 1,
  ExportPortsReleased: 1,
  BackupCompleted: 1,
  BackupFailed: 1,
  TransferCancelled: 1,
  DiskImageDeleted: 1,
  BackupClosed: 1,
  BackupRemovalRequested: 1,
  BackupRemovalFailed: 1,
  BackupRemoved: 1,
};
