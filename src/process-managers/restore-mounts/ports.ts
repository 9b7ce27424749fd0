import type {
  MountDriver,
  MountFailureKind,
  PartitionMounted,
  PartitionSkipped,
} from '#domain/restore-mount/events.ts';

/** One disk to mount; everything that is made for it is named after the mount, so that a crash loses nothing. */
export type DiskToMount = Readonly<{
  mountId: string;
  slot: number;
  driver: MountDriver;
  imagePath: string;
  diskIndex: number;
  mountPath: string;
  runtimeFolder: string;
}>;

export type MountedDisk = Readonly<{
  /** Of the program that serves the disk; null when the kernel's own does. */
  pid: number | null;
  sizeBytes: number;
  partitioned: boolean;
  partitions: readonly PartitionMounted[];
  skipped: readonly PartitionSkipped[];
}>;

/** Nothing was mounted, and nothing is left of the attempt. */
export class MountRefused extends Error {
  readonly kind: MountFailureKind;
  constructor(kind: MountFailureKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'MountRefused';
    this.kind = kind;
  }
}

/** What of a mount is asked about by its id alone, also when nothing but the id is known any more. */
export type MountRef = Pick<DiskToMount, 'mountId' | 'mountPath' | 'runtimeFolder'> & Readonly<{ slot: number | null }>;

/**
 * Disks of backups as folders of files. Every call may be repeated: a crash between effect and record is normal. The
 * backup's images are only ever read.
 */
export interface DiskMounts {
  /** First takes down what an interrupted attempt left. Throws `MountRefused`. */
  mount(disk: DiskToMount, signal: AbortSignal): Promise<MountedDisk>;
  /** Content with nothing. Throws, with a sentence, while anything of it is still there. */
  unmount(mount: MountRef, signal: AbortSignal): Promise<void>;
  /** What a mounted disk has lost: a program that ended, a filesystem that somebody unmounted. */
  lossOf(mount: MountRef & Readonly<{ folders: readonly string[] }>): Promise<string | undefined>;
  /** Every mount of which anything is there, whoever made it and whether it is recorded or not. */
  list(): Promise<readonly MountRef[]>;
}
