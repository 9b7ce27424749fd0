import type { Versions } from '../event-versions.ts';
/** `full` starts a chain, `incremental` continues it. */
export type BackupType = 'full' | 'incremental';

/** What a later backup of the same disk may build on. `changeId` is null when the client never told it. */
export type PointDisk = Readonly<{
  index: number;
  changeId: string | null;
  imagePath: string;
  /** Guest-visible size of the image. */
  virtualSizeBytes: number;
  /** What the file occupied when the backup was completed. */
  imageBytes: number;
}>;

export type RestorePoint = Readonly<{
  backupId: string;
  repositoryId: string;
  type: BackupType;
  /** The backup this one was based on; null for a full one. */
  parentBackupId: string | null;
  disks: readonly PointDisk[];
  completedAt: string;
}>;

/** The one backup of this VM that runs now. */
export type ActiveBackup = Readonly<{
  backupId: string;
  /** Whose request it was: two requests in one second propose the same id, and only one of them may have it. */
  requestId: string;
  /** The history of this VM in this repository; made with the first backup there. */
  backupContextId: string;
  repositoryId: string;
  type: BackupType;
  parentBackupId: string | null;
  /** Per disk, what the overlay is based on; empty for a full backup. */
  bases: readonly PointDisk[];
  admittedAt: string;
}>;

export type RestorePointsState = Readonly<{
  active: ActiveBackup | null;
  /** In the order of completion. */
  points: readonly RestorePoint[];
  /** Backups whose removal has begun: no new backup may build on them. */
  removing: readonly string[];
  contexts: readonly Readonly<{ repositoryId: string; backupContextId: string }>[];
}>;

type Ref = Readonly<{ vmContextId: string; backupId: string; at: string }>;

/** One stream per VM: who may back it up now, what can be restored, what the next increment is based on. */
export type RestorePointsEvent =
  | Readonly<{ type: 'BackupAdmitted'; data: Readonly<{ vmContextId: string; active: ActiveBackup }> }>
  | Readonly<{ type: 'BackupAbandoned'; data: Ref }>
  | Readonly<{ type: 'RestorePointAdded'; data: Readonly<{ vmContextId: string; point: RestorePoint }> }>
  | Readonly<{ type: 'LateChangeIdRecorded'; data: Ref & Readonly<{ diskIndex: number; changeId: string }> }>
  | Readonly<{ type: 'RestorePointRemovalBegun'; data: Ref }>
  | Readonly<{ type: 'RestorePointRemoved'; data: Ref }>
  | Readonly<{
      type: 'RestorePointsCarriedForward';
      data: Readonly<{ vmContextId: string; state: RestorePointsState }>;
    }>;

export const restorePointsEventVersions: Versions<RestorePointsEvent> = {
  BackupAdmitted: 1,
  BackupAbandoned: 1,
  RestorePointAdded: 1,
  LateChangeIdRecorded: 1,
  RestorePointRemovalBegun: 1,
  RestorePointRemoved: 1,
  RestorePointsCarriedForward: 1,
};
