import type { ProcessIdentity } from '../qemu/process-table.ts';
import type { Partition } from './partition-table.ts';
import type { Stretch } from './probe.ts';

export type ToExpose = Readonly<{ folder: string; slot: number; imagePath: string }>;

export type ExposedDisk = Readonly<{
  /** Reads as the whole disk, also by sfdisk and blkid. */
  path: string;
  /** Of the program that serves it. */
  pid: number | null;
  sizeBytes: number;
  /** `disk0p3`, or what the kernel calls it. */
  nameOf(partition: Partition): string;
  /** A block device over a part of it, which may be written to: what is written is thrown away. */
  deviceOf(stretch: Stretch, partition: Partition | undefined, signal: AbortSignal): Promise<string>;
}>;

/**
 * How the bytes of a chain of images become something that can be mounted. Writes go to a throw-away overlay, which a
 * journal's replay needs; the images are opened for reading alone.
 */
export interface Exposure {
  /** Throws `PermanentFailure` with qemu's own words. */
  expose(request: ToExpose, diskIndex: number, signal: AbortSignal): Promise<ExposedDisk>;
  /** Content with nothing; the loop devices over it are gone by then. */
  withdraw(place: Pick<ToExpose, 'folder'> & Readonly<{ slot: number | null }>, signal: AbortSignal): Promise<void>;
  /** Undefined: it does not run. */
  serving(place: Pick<ToExpose, 'folder' | 'slot'>): Promise<ProcessIdentity | undefined>;
}
