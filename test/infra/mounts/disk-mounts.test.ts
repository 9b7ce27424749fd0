import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { execa } from 'execa';
import { createDiskMounts } from '#infra/mounts/disk-mounts.ts';
import { createFuseExposure } from '#infra/mounts/fuse-disk.ts';
import { loopsBelow, mountsBelow } from '#infra/mounts/mount-table.ts';
import { createNbdExposure } from '#infra/mounts/nbd-disk.ts';
import type { DiskToMount } from '#process-managers/restore-mounts/ports.ts';
import { makePartitionedDisk } from '../../support/partitioned-disk.ts';
import { notRoot } from '../../support/root.ts';

describe('the disks of a host without the NBD of the kernel', { skip: notRoot }, () => {
  const signal = new AbortController().signal;
  let folder = '';
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'disks-'));
  });
  after(() => rm(folder, { recursive: true }));

  const disksIn = () =>
    createDiskMounts({
      ...{ runtimeDir: join(folder, 'run'), restoreDir: join(folder, 'mounts') },
      exposures: { fuse: createFuseExposure(), nbd: createNbdExposure() },
    });
  const diskOf = (imagePath: string): DiskToMount => {
    const mountId = randomUUID();
    const places = { mountPath: join(folder, 'mounts', mountId), runtimeFolder: join(folder, 'run', mountId) };
    return { mountId, slot: 0, driver: 'fuse', imagePath, diskIndex: 1, ...places };
  };
  const assertNothingLeft = async () => {
    assert.deepEqual([await mountsBelow(folder), await loopsBelow(folder), await disksIn().list()], [[], [], []]);
    assert.deepEqual(await readdir(join(folder, 'mounts')), []);
  };
  /** Without copying: the overlay reads what the raw file holds. */
  const overRaw = async (name: string): Promise<string> => {
    const image = join(folder, `${name}.qcow2`);
    await execa('qemu-img', ['convert', '-f', 'raw', '-O', 'qcow2', join(folder, `${name}.raw`), image]);
    return image;
  };

  test('are shown with the logical partitions of an MBR, which count from five', async () => {
    const specs = Array.from({ length: 5 }, () => ({ kind: 'ext4', sizeMib: 4 }) as const);
    await makePartitionedDisk(join(folder, 'mbr.raw'), 32, 'dos', specs);
    const disks = disksIn();
    const disk = diskOf(await overRaw('mbr'));
    const { partitions, partitioned, skipped } = await disks.mount(disk, signal);
    assert.deepEqual(
      partitions.map(({ number, name }) => [number, name]),
      ['disk1p1', 'disk1p2', 'disk1p3', 'disk1p5', 'disk1p6'].map((name, index) => [index + 1, name]),
    );
    assert.deepEqual([partitioned, skipped], [true, []]);
    await disks.unmount(disk, signal);
    await disks.unmount(disk, signal);
    await assertNothingLeft();
  });

  test('are refused when they are blank, or their image is none, and leave nothing', async () => {
    const blank = join(folder, 'blank.qcow2');
    await execa('qemu-img', ['create', '-q', '-f', 'qcow2', blank, '8M']);
    await assert.rejects(disksIn().mount(diskOf(blank), signal), { kind: 'no-filesystem' });
    await assertNothingLeft();
    await assert.rejects(disksIn().mount(diskOf(join(folder, 'mbr.raw')), signal), { kind: 'image' });
    await assert.rejects(disksIn().mount(diskOf(join(folder, 'nowhere')), signal), { kind: 'image' });
    await assertNothingLeft();
  });
});
