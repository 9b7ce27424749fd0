import type { CommandContext } from './ports.ts';

/** A filesystem of a mounted disk. */
export type MountedPartition = Readonly<{
  /** Counts mounted partitions from 1: its folder is `partition-<number>`. */
  number: number;
  sizeBytes: number;
  /** `ntfs`, `vfat`, `ext4`, …; empty when unknown. */
  filesystem: string;
  /** Empty when there is none. */
  label: string;
  /** Absolute; nothing outside it may ever be reached. */
  rootPath: string;
}>;

/** A disk of a backup whose files can be read. */
export type OpenMount = Readonly<{
  mountId: string;
  backupId: string;
  vmName: string;
  diskIndex: number;
  createdAt: string;
  /** One entry without `partitioned`: the whole disk is one filesystem. */
  partitioned: boolean;
  partitions: readonly MountedPartition[];
}>;

/** Keeps a mount alive while its files are read; `signal` aborts when the mount goes all the same (an unmount was asked for). */
export type MountHold = Readonly<{ mount: OpenMount; signal: AbortSignal; release: () => void }>;

/** What browsing and downloading ask of mounts. */
export interface MountAccess {
  /**
   * Counts as an access: the idle deadline moves on, and stands still until `release`. Throws `mount-not-found` for an
   * unknown id, `mount-not-ready` for one that is not mounted.
   */
  hold(mountId: string, context: CommandContext): Promise<MountHold>;
}
