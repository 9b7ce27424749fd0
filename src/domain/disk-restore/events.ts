import type { Versions } from '../event-versions.ts';

/** Where a disk is written to. */
export type RestoreTarget =
  | Readonly<{
      type: 'image';
      path: string;
      format: 'raw' | 'qcow2';
      /** Whether a file of that name may be replaced. */
      overwrite: boolean;
    }>
  | Readonly<{ type: 'nbd'; uri: string }>;

/** What failed: a person looks at the target, at the backup, or at the hub. */
export type RestoreFailureKind =
  /** The target is refused, missing, too small, full or broken. */
  | 'target'
  /** The backup's image is gone, or what it builds on. */
  | 'image'
  /** The copy is not what the backup holds. */
  | 'verification'
  /** Hubs ended in the middle of it again and again. */
  | 'hub-restart'
  | 'unexpected';

export type RestorePhase = 'copying' | 'verifying';

type OfRestore = Readonly<{ restoreId: string; at: string }>;

/** One stream per restore of a disk, from the request to its end; short, since progress is told in steps of 10 %. */
export type DiskRestoreEvent =
  | Readonly<{
      type: 'DiskRestoreRequested';
      data: OfRestore &
        Readonly<{
          backupId: string;
          vmName: string;
          diskIndex: number;
          imagePath: string;
          sizeBytes: number;
          target: RestoreTarget;
          /** Whether the copy is compared with the backup before it counts. */
          verify: boolean;
        }>;
    }>
  /** `attempt` counts from 1: a copy that a hub's end broke off begins anew. */
  | Readonly<{ type: 'DiskRestoreStarted'; data: OfRestore & Readonly<{ attempt: number }> }>
  | Readonly<{ type: 'DiskRestoreProgressed'; data: OfRestore & Readonly<{ phase: RestorePhase; percent: number }> }>
  /** Everything is written and flushed, and identical if that was asked for; `file` tells it from any other of its name. */
  | Readonly<{ type: 'DiskRestoreCopied'; data: OfRestore & Readonly<{ file: string | null; verified: boolean }> }>
  | Readonly<{ type: 'DiskRestoreCompleted'; data: OfRestore }>
  | Readonly<{ type: 'DiskRestoreFailed'; data: OfRestore & Readonly<{ kind: RestoreFailureKind; reason: string }> }>
  | Readonly<{ type: 'DiskRestoreCancelRequested'; data: OfRestore }>
  | Readonly<{ type: 'DiskRestoreCancelled'; data: OfRestore }>;

export type DiskRestoreEventOf<Type extends DiskRestoreEvent['type']> = Extract<DiskRestoreEvent, { type: Type }>;

export const diskRestoreEventVersions: Versions<DiskRestoreEvent> = {
  DiskRestoreRequested: 1,
  DiskRestoreStarted: 1,
  DiskRestoreProgressed: 1,
  DiskRestoreCopied: 1,
  DiskRestoreCompleted: 1,
  DiskRestoreFailed: 1,
  DiskRestoreCancelRequested: 1,
  DiskRestoreCancelled: 1,
};
