import { mkdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { PartitionMounted, PartitionSkipped } from '#domain/restore-mount/events.ts';
import { PermanentFailure } from '#process-managers/ports.ts';
import { runProgram } from '../qemu/program.ts';
import { copyFat } from './copy-fat.ts';
import type { ExposedDisk } from './exposure.ts';
import { methodFor, safeOptions } from './filesystems.ts';
import type { DiskLayout, Volume } from './layout.ts';
import { detachLoop } from './loop-devices.ts';
import { replayNtfsLog } from './ntfs-log.ts';
import { umountBelow } from './take-down.ts';

/** A journal that is replayed, or a check of the log of an XFS, may take its time on a large filesystem. */
const mountTimeoutMs = 120_000;
const detachTimeoutMs = 5_000;
/** Each takes two programs; more at once than that is no faster. */
const sideBySide = 4;

type Where = Readonly<{
  disk: ExposedDisk;
  /** The hub's private folder of this mount. */
  folder: string;
  mountPath: string;
  kernel: ReadonlySet<string>;
}>;

export type Mounted = Readonly<{
  partitioned: boolean;
  partitions: readonly PartitionMounted[];
  skipped: readonly PartitionSkipped[];
}>;

/** Mounts one volume, wherever it is told to; what it needs for that is made once. */
type Mountable = Readonly<{ volume: Volume; mountAt: (target: string, signal: AbortSignal) => Promise<void> }>;

const once = <T>(make: () => Promise<T>): (() => Promise<T>) => {
  let made: Promise<T> | undefined;
  return () => {
    made ??= make();
    return made;
  };
};

const mountable = (volume: Volume, { disk, folder, kernel }: Where, signal: AbortSignal): Mountable => {
  const method = methodFor(volume.filesystem, kernel);
  /** Unmounting frees the device; what was never mounted has to be freed here. */
  const onDevice = async (mount: (device: string) => Promise<unknown>): Promise<void> => {
    const device = await disk.deviceOf(volume, volume.partition, signal);
    try {
      await mount(device);
    } catch (error) {
      await detachLoop(device, AbortSignal.timeout(detachTimeoutMs));
      throw error;
    }
  };
  const copy = once(() => copyFat({ volume, diskPath: disk.path, folder }, signal));
  const options = safeOptions.join(',');
  const run = (program: string, args: readonly string[]) => runProgram(program, args, mountTimeoutMs, signal);
  const mountAt = async (target: string): Promise<void> => {
    if (volume.reason !== undefined) throw new PermanentFailure(volume.reason);
    switch (method.by) {
      case 'none':
        throw new PermanentFailure(method.reason);
      case 'copy':
        await run('mount', ['-o', `bind,${options}`, await copy(), target]);
        return;
      case 'ntfs-3g':
        return onDevice(async (device) => {
          await replayNtfsLog(device, signal);
          await run('ntfs-3g', ['-o', options, device, target]);
        });
      case 'kernel':
        return onDevice((device) =>
          run('mount', ['-t', volume.filesystem, '-o', [options, ...method.options].join(','), device, target]),
        );
    }
  };
  return { volume, mountAt };
};

/** Without where it was to be mounted, which the numbering may change, and without what only root of this host can do. */
const plain = (words: string): string =>
  words.replace(/^mount: [^:]+: /, '').replace(/\s*dmesg\(1\) may have more information.*$/, '');

const reasonOf = (error: unknown, { filesystem }: Volume): string => {
  const words = plain(error instanceof Error ? error.message : String(error));
  // The kernel takes a filesystem with the same id for the same one.
  return filesystem === 'btrfs' && /exists/i.test(words)
    ? 'this btrfs filesystem is mounted already, from another backup of the disk; unmount that one first'
    : words;
};

/** Why it could not be mounted; the folder is gone again then. */
const tryAt = async (what: Mountable, target: string, signal: AbortSignal): Promise<string | undefined> => {
  await mkdir(target, { mode: 0o755 });
  try {
    await what.mountAt(target, signal);
    return undefined;
  } catch (error) {
    await rmdir(target);
    signal.throwIfAborted();
    return reasonOf(error, what.volume);
  }
};

type Tried = Readonly<{ what: Mountable; target: string; reason: string | undefined }>;

const mountTogether = async (
  group: readonly Mountable[],
  first: number,
  { mountPath }: Where,
  signal: AbortSignal,
): Promise<readonly Tried[]> => {
  let number = first;
  const hopeful = ({ volume }: Mountable) => volume.reason === undefined && volume.filesystem !== '';
  const places = group.map((what) => ({ what, number: hopeful(what) ? number++ : 0 }));
  const tried = await Promise.allSettled(
    places.map(async ({ what, number: taken }): Promise<Tried> => {
      const target = join(mountPath, `partition-${taken}`);
      if (taken > 0) return { what, target, reason: await tryAt(what, target, signal) };
      return { what, target, reason: what.volume.reason ?? 'no filesystem was recognised' };
    }),
  );
  signal.throwIfAborted();
  return tried.map((result) => {
    if (result.status === 'rejected') throw result.reason;
    return result.value;
  });
};

/** Behind one that could not be mounted all others move up: a number belongs to a filesystem that is mounted. */
const moveUp = async (
  tried: readonly Tried[],
  first: number,
  { mountPath }: Where,
  signal: AbortSignal,
): Promise<readonly Tried[]> => {
  const moved: Tried[] = [];
  let number = first;
  for (const each of tried) {
    const target = join(mountPath, `partition-${number}`);
    if (each.reason === undefined && each.target !== target) {
      await umountBelow(each.target, signal);
      await rmdir(each.target);
      moved.push({ ...each, target, reason: await tryAt(each.what, target, signal) });
    } else moved.push(each);
    if (moved.at(-1)?.reason === undefined) number += 1;
  }
  return moved;
};

const mountPartitions = async (
  volumes: readonly Volume[],
  where: Where,
  signal: AbortSignal,
): Promise<Pick<Mounted, 'partitions' | 'skipped'>> => {
  const partitions: PartitionMounted[] = [];
  const skipped: PartitionSkipped[] = [];
  for (let at = 0; at < volumes.length; at += sideBySide) {
    const group = volumes.slice(at, at + sideBySide).map((volume) => mountable(volume, where, signal));
    const first = partitions.length + 1;
    const tried = await moveUp(await mountTogether(group, first, where, signal), first, where, signal);
    for (const { what, reason } of tried) {
      const { name, sizeBytes, filesystem, label } = what.volume;
      if (reason === undefined) partitions.push({ number: partitions.length + 1, name, sizeBytes, filesystem, label });
      else skipped.push({ name, sizeBytes, filesystem, label, reason });
    }
  }
  return { partitions, skipped };
};

/**
 * Mounts whatever can be mounted, numbered in disk order. What cannot be is listed with its reason, and fails nothing; the
 * disk as a whole is tried when none of its parts could be mounted.
 */
export const mountFilesystems = async (layout: DiskLayout, where: Where, signal: AbortSignal): Promise<Mounted> => {
  const { partitions, skipped } = await mountPartitions(layout.volumes, where, signal);
  const { whole } = layout;
  if (partitions.length > 0 || whole === undefined) return { partitioned: true, partitions, skipped };
  const { name, sizeBytes, filesystem, label } = whole;
  try {
    await mountable(whole, where, signal).mountAt(where.mountPath, signal);
  } catch (error) {
    signal.throwIfAborted();
    const failed = { name, sizeBytes, filesystem, label, reason: reasonOf(error, whole) };
    return { partitioned: false, partitions: [], skipped: [...skipped, failed] };
  }
  return { partitioned: false, partitions: [{ number: 1, name, sizeBytes, filesystem, label }], skipped };
};
