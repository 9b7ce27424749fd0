import { mkdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { MountDriver } from '#domain/restore-mount/events.ts';
import { PermanentFailure } from '#process-managers/ports.ts';
import {
  type DiskMounts,
  type DiskToMount,
  type MountedDisk,
  type MountRef,
  MountRefused,
} from '#process-managers/restore-mounts/ports.ts';
import { errnoOf } from '../durable-file.ts';
import { fatFolder } from './copy-fat.ts';
import type { ExposedDisk, Exposure } from './exposure.ts';
import { kernelFilesystems } from './kernel-filesystems.ts';
import { readLayout } from './layout.ts';
import { detachLoops } from './loop-devices.ts';
import { type Mounted, mountFilesystems } from './mount-filesystems.ts';
import { mountsBelow } from './mount-table.ts';
import { readRecord, recordedMounts, removeRecord, writeRecord } from './records.ts';
import { removeFolders, umountBelow } from './take-down.ts';

type Deps = Readonly<{
  /** Holds a private folder for each mount. */
  runtimeDir: string;
  /** The folder that all mounts appear in. */
  restoreDir: string;
  exposures: Readonly<Record<MountDriver, Exposure>>;
}>;

/** An attempt that came to nothing is undone also while the hub stops. */
const undoTimeoutMs = 15_000;

const nothingToMount = ({ skipped }: Mounted): MountRefused => {
  const found = skipped.map(({ name, reason }) => `${name}: ${reason}`).join('; ');
  return new MountRefused(
    'no-filesystem',
    `nothing on this disk can be mounted: ${found === '' ? 'it holds no partition table and no filesystem' : found}`,
  );
};

const exposed = async (
  exposure: Exposure,
  { runtimeFolder: folder, slot, imagePath, diskIndex }: DiskToMount,
  signal: AbortSignal,
): Promise<ExposedDisk> => {
  try {
    return await exposure.expose({ folder, slot, imagePath }, diskIndex, signal);
  } catch (error) {
    if (error instanceof PermanentFailure) throw new MountRefused('image', error.message, { cause: error });
    throw error;
  }
};

export const createDiskMounts = ({ runtimeDir, restoreDir, exposures }: Deps): DiskMounts => {
  /** In the order in which one stands on the other; what is not there is passed over. */
  const unmount = async ({ mountPath, runtimeFolder: folder, slot }: MountRef, signal: AbortSignal): Promise<void> => {
    const record = await readRecord(folder);
    await umountBelow(mountPath, signal);
    await removeFolders(mountPath);
    await detachLoops(folder, signal);
    // A record that cannot be read does not tell the driver; only one of them finds something.
    const drivers = record ? [exposures[record.driver]] : Object.values(exposures);
    for (const exposure of drivers) await exposure.withdraw({ folder, slot: record?.slot ?? slot }, signal);
    await umountBelow(folder, signal);
    await rm(fatFolder(folder), { recursive: true, force: true });
    await removeRecord(folder);
  };

  const attempt = async (disk: DiskToMount, signal: AbortSignal): Promise<MountedDisk> => {
    const { mountId, slot, driver, mountPath, runtimeFolder: folder } = disk;
    await writeRecord(folder, { mountId, slot, driver, mountPath });
    const [open, kernel] = await Promise.all([
      exposed(exposures[driver], disk, signal),
      kernelFilesystems(),
      // Whoever may not be root has no business in backups.
      mkdir(mountPath, { recursive: true, mode: 0o700 }),
    ]);
    const layout = await readLayout(open, signal);
    const mounted = await mountFilesystems(layout, { disk: open, folder, mountPath, kernel }, signal);
    if (mounted.partitions.length === 0) throw nothingToMount(mounted);
    return { pid: open.pid, sizeBytes: open.sizeBytes, ...mounted };
  };

  return {
    mount: async (disk, signal) => {
      if ((await readRecord(disk.runtimeFolder)) !== undefined) await unmount(disk, signal);
      try {
        return await attempt(disk, signal);
      } catch (error) {
        await unmount(disk, AbortSignal.timeout(undoTimeoutMs));
        signal.throwIfAborted();
        if (error instanceof MountRefused) throw error;
        const message = error instanceof Error ? error.message : String(error);
        throw new MountRefused('unexpected', message, { cause: error });
      }
    },
    unmount,
    lossOf: async ({ mountPath, runtimeFolder: folder, slot, folders }) => {
      const record = await readRecord(folder);
      if (!record) return 'its record is gone';
      if (!(await exposures[record.driver].serving({ folder, slot: slot ?? record.slot })))
        return 'the program that served the disk has ended';
      const points = new Set((await mountsBelow(mountPath)).map(({ mountPoint }) => mountPoint));
      const lost = folders.find((each) => !points.has(each));
      if (lost !== undefined) return `${lost} was unmounted by somebody else`;
      for (const each of folders) {
        const code = await stat(each).then(() => undefined, errnoOf);
        if (code !== undefined) return `${each} cannot be read any more (${code})`;
      }
      return undefined;
    },
    list: async () => {
      const mountIds = await recordedMounts(runtimeDir);
      return Promise.all(
        mountIds.map(async (mountId) => {
          const runtimeFolder = join(runtimeDir, mountId);
          const record = await readRecord(runtimeFolder);
          const place = { mountPath: record?.mountPath ?? join(restoreDir, mountId), slot: record?.slot ?? null };
          return { mountId, runtimeFolder, ...place };
        }),
      );
    },
  };
};
