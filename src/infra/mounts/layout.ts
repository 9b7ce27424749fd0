import type { ExposedDisk } from './exposure.ts';
import { readVolumeGroup } from './lvm.ts';
import { type Partition, readPartitions } from './partition-table.ts';
import { probe, type Stretch } from './probe.ts';

/** Something on the disk that may hold a filesystem: a partition, a logical volume, or the whole disk. */
export type Volume = Stretch &
  Readonly<{
    name: string;
    filesystem: string;
    label: string;
    /** Undefined for what lies inside one, and for the whole disk. */
    partition: Partition | undefined;
    /** Why it cannot be mounted, where that is known before it is tried. */
    reason: string | undefined;
  }>;

export type DiskLayout = Readonly<{
  /** In disk order. */
  volumes: readonly Volume[];
  /** The disk as one filesystem, tried when no volume could be mounted. */
  whole: Volume | undefined;
}>;

const smallestBytes = 1024 ** 2;

/** Of a physical volume, the logical ones in its place. */
const inside = async (volume: Volume, disk: ExposedDisk, signal: AbortSignal): Promise<readonly Volume[]> => {
  const group = await readVolumeGroup(disk.path, volume);
  if (typeof group === 'string') return [{ ...volume, reason: group }];
  return Promise.all(
    group.map(async (logical): Promise<Volume> => {
      const base = { name: `${volume.name}/${logical.name}`, sizeBytes: logical.sizeBytes, partition: undefined };
      if (logical.reason !== undefined)
        return { ...base, offsetBytes: 0, filesystem: '', label: '', reason: logical.reason };
      const stretch = { offsetBytes: volume.offsetBytes + logical.offsetBytes, sizeBytes: logical.sizeBytes };
      const { filesystem, label } = await probe(disk.path, signal, stretch);
      return { ...base, ...stretch, filesystem, label, reason: undefined };
    }),
  );
};

const volumesOf = async (partition: Partition, disk: ExposedDisk, signal: AbortSignal): Promise<readonly Volume[]> => {
  const name = disk.nameOf(partition);
  const { offsetBytes, sizeBytes } = partition;
  const place = { name, partition, offsetBytes, sizeBytes };
  if (sizeBytes < smallestBytes) return [{ ...place, filesystem: '', label: '', reason: 'it is smaller than 1 MiB' }];
  if (offsetBytes + sizeBytes > disk.sizeBytes)
    return [{ ...place, filesystem: '', label: '', reason: 'it reaches beyond the end of the disk' }];
  const { filesystem, label } = await probe(disk.path, signal, partition);
  const volume = { ...place, filesystem, label, reason: undefined };
  return filesystem === 'LVM2_member' ? inside(volume, disk, signal) : [volume];
};

/** Reads what is on a disk; a table or volume that cannot be read is a volume with a reason, or none. */
export const readLayout = async (disk: ExposedDisk, signal: AbortSignal): Promise<DiskLayout> => {
  // A disk without a table is no failure of the program that looks for one.
  const [content, partitions] = await Promise.all([
    probe(disk.path, signal),
    readPartitions(disk.path, signal).catch((): readonly Partition[] => []),
  ]);
  signal.throwIfAborted();
  const { filesystem, label } = content;
  const whole = {
    ...{ name: disk.nameOf({ number: 0, offsetBytes: 0, sizeBytes: disk.sizeBytes }), partition: undefined },
    ...{ offsetBytes: 0, sizeBytes: disk.sizeBytes, filesystem, label, reason: undefined },
  };
  // A boot sector of FAT or NTFS looks like an MBR as well: blkid tells them apart.
  if (content.partitionTable === '' && filesystem !== '') {
    return filesystem === 'LVM2_member'
      ? { volumes: await inside(whole, disk, signal), whole: undefined }
      : { volumes: [], whole };
  }
  const volumes = (await Promise.all(partitions.map((each) => volumesOf(each, disk, signal)))).flat();
  return { volumes, whole: filesystem === '' ? undefined : whole };
};
