import type { Versions } from '../event-versions.ts';

/** How a disk's bytes become a file or device: the kernel's NBD client, or a FUSE export of qemu-storage-daemon. */
export type MountDriver = 'nbd' | 'fuse';

/** A filesystem that was mounted. */
export type PartitionMounted = Readonly<{
  /** Counts mounted filesystems from 1; its folder is `partition-<number>`. */
  number: number;
  /** `nbd0p3` where the kernel has such a device, else `disk0p3`; a logical volume adds its name. */
  name: string;
  sizeBytes: number;
  filesystem: string;
  label: string;
}>;

/** A partition that has nothing to mount, or could not be mounted. */
export type PartitionSkipped = Readonly<{
  name: string;
  sizeBytes: number;
  /** Empty when unknown. */
  filesystem: string;
  label: string;
  reason: string;
}>;

/** Why nothing was mounted: decides how the caller is answered. */
export type MountFailureKind =
  /** The image is gone or cannot be opened. */
  | 'image'
  /** The disk opened, and holds nothing that can be mounted. */
  | 'no-filesystem'
  /** This host cannot mount. */
  | 'host'
  | 'unexpected';

/** `vanished`: its processes or mounts ended without being asked to. */
export type UnmountCause = 'requested' | 'expired' | 'vanished' | 'backup-removed' | 'retry';

type OfMount = Readonly<{ mountId: string; at: string }>;

/** One stream per mount, from the request to the last freed resource. */
export type RestoreMountEvent =
  | Readonly<{
      type: 'MountRequested';
      data: OfMount &
        Readonly<{
          backupId: string;
          diskIndex: number;
          vmName: string;
          imagePath: string;
          storageNode: string;
          slot: number;
          driver: MountDriver;
          /** The folder that the filesystems are mounted below. */
          mountPath: string;
          /** The device or file that stands for the whole disk. */
          devicePath: string;
          /** Where the hub keeps what belongs to this mount alone. */
          runtimeFolder: string;
          /** It ends when nobody has read anything for this long. */
          idleSeconds: number;
          expiresAt: string;
        }>;
    }>
  | Readonly<{ type: 'DiskExposed'; data: OfMount & Readonly<{ pid: number | null; sizeBytes: number }> }>
  | Readonly<{
      type: 'MountCompleted';
      data: OfMount &
        Readonly<{
          /** False: the whole disk is one filesystem, mounted at the mount's own path. */
          partitioned: boolean;
          partitions: readonly PartitionMounted[];
          skipped: readonly PartitionSkipped[];
        }>;
    }>
  | Readonly<{ type: 'MountFailed'; data: OfMount & Readonly<{ kind: MountFailureKind; reason: string }> }>
  /** At most about one a minute: what is read is not worth an event each time. */
  | Readonly<{ type: 'MountAccessed'; data: OfMount & Readonly<{ expiresAt: string }> }>
  | Readonly<{ type: 'UnmountRequested'; data: OfMount & Readonly<{ cause: UnmountCause; detail: string }> }>
  | Readonly<{ type: 'UnmountFailed'; data: OfMount & Readonly<{ reason: string }> }>
  | Readonly<{ type: 'Unmounted'; data: OfMount }>;

export type RestoreMountEventOf<Type extends RestoreMountEvent['type']> = Extract<RestoreMountEvent, { type: Type }>;

export const restoreMountEventVersions: Versions<RestoreMountEvent> = {
  MountRequested: 1,
  DiskExposed: 1,
  MountCompleted: 1,
  MountFailed: 1,
  MountAccessed: 1,
  UnmountRequested: 1,
  UnmountFailed: 1,
  Unmounted: 1,
};
