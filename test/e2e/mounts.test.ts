import assert from 'node:assert/strict';
import { readdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { mountsBelow } from '../../src/infra/mounts/mount-table.ts';
import {
  assertNothingMounted,
  clearMounts,
  fingerprints,
  mountsOf,
  partitionsOf,
  type WireMount,
} from '../support/mounts.ts';
import {
  contentOf,
  copyOntoFat,
  makeFilesystem,
  makePartitionedDisk,
  mountForWriting,
  type PartitionSpec,
  type Stretch,
  volumeIn,
  writeSynced,
} from '../support/partitioned-disk.ts';
import { notRoot } from '../support/root.ts';
import { mib, World } from '../support/world.ts';

const specs: readonly PartitionSpec[] = [
  { kind: 'vfat', sizeMib: 34, label: 'EFI' },
  { kind: 'ext4', sizeMib: 48, label: 'sys/tem x' },
  { kind: 'swap', sizeMib: 4 },
  { kind: 'xfs', sizeMib: 300, label: 'data' },
  { kind: 'luks', sizeMib: 4 },
  { kind: 'btrfs', sizeMib: 128, label: 'snaps' },
  { kind: 'corrupt-ext4', sizeMib: 8 },
  { kind: 'ntfs', sizeMib: 16, label: 'Windows' },
  { kind: 'noise', sizeMib: 4 },
  { kind: 'lvm', sizeMib: 32 },
];
const diskMib = 600;
const count = 50;

/** The partitions that can be mounted, by the number that they get. */
const expected = ['vfat', 'ext4', 'xfs', 'btrfs', 'ntfs', 'ext4'];
const journalled = ['ext4', 'xfs', 'btrfs', 'ntfs'] as const;

describe('mounting the disks of a backup', { skip: notRoot }, () => {
  let world: World;
  let places: readonly Stretch[];
  let full = '';
  let increment = '';

  const diskPath = (): string => world.vm.disks[0] as string;
  const placeOf = (kind: string): Stretch => places[specs.findIndex((spec) => spec.kind === kind)] as Stretch;

  /** Backs the VM up while its filesystems are mounted, and files are in their journals alone. */
  const backUpInUse = async (type: 'full' | 'incremental', seed: string): Promise<string> => {
    const inUse = [];
    try {
      for (const kind of journalled) inUse.push(await mountForWriting(diskPath(), placeOf(kind), kind));
      for (const { folder } of inUse) await writeSynced(folder, count, seed);
      return (await world.backUp(type)).backup_id;
    } finally {
      for (const each of inUse) await each.unmount();
    }
  };

  const assertFiles = async (mount: WireMount, seed: string): Promise<void> => {
    for (const kind of journalled) {
      const folder = join(mount.mount_path, `partition-${expected.indexOf(kind) + 1}`, seed);
      assert.equal((await readdir(folder)).length, count, `${kind}: every file that was told to be kept is there`);
      for (const number of [0, count - 1])
        assert.equal(await readFile(join(folder, `file-${number}`), 'utf8'), contentOf(seed, number), kind);
    }
  };

  before(async () => {
    const empty = { sizeBytes: diskMib * mib, dataBytes: mib };
    world = await World.open({ disks: [empty, { sizeBytes: 32 * mib, dataBytes: mib }] });
    const made = join(world.folder, 'made.raw');
    places = await makePartitionedDisk(made, diskMib, 'gpt', specs);
    await copyOntoFat(made, placeOf('vfat'), 'A long name of a file.efi', 'firmware');
    const home = await mountForWriting(made, volumeIn(placeOf('lvm')), 'ext4');
    await writeFile(join(home.folder, 'in-a-logical-volume'), 'yes');
    await home.unmount();
    await rename(made, diskPath());
    await makeFilesystem(world.vm.disks[1] as string, { offset: 0, size: 32 * mib }, 'ext4', 'whole');
    full = await backUpInUse('full', 'first');
    increment = await backUpInUse('incremental', 'second');
  });
  after(async () => {
    if (!world) return;
    await clearMounts(world);
    await world.close();
  });

  test('shows every filesystem, with the files of unfinished journals, and leaves the images as they were', async () => {
    const mounts = mountsOf(world);
    const before = await fingerprints(world);
    const mount = await mounts.mount(increment);
    const { partitions, skipped = [] } = partitionsOf(mount);
    assert.deepEqual(
      partitions.map(({ filesystem, mount_path: path }) => [filesystem, path]),
      expected.map((filesystem, index) => [filesystem, `partition-${index + 1}`]),
    );
    assert.deepEqual(
      partitions.map(({ label, partition_name: name }) => [name, label]),
      [
        ...[
          ['disk0p1', 'EFI'],
          ['disk0p2', 'sys/tem x'],
          ['disk0p4', 'data'],
          ['disk0p6', 'snaps'],
        ],
        ...[
          ['disk0p8', 'Windows'],
          ['disk0p10/data-group-home', 'home'],
        ],
      ],
    );
    assert.equal(partitions[1]?.size, 48 * mib);
    assert.deepEqual(
      skipped.map(({ partition_name: name, filesystem }) => [name, filesystem]),
      [
        ['disk0p3', 'swap'],
        ['disk0p5', 'crypto_LUKS'],
        ['disk0p7', 'ext4'],
        ['disk0p9', ''],
      ],
    );
    assert.match(skipped[1]?.reason ?? '', /encrypted/);
    await assertFiles(mount, 'first');
    await assertFiles(mount, 'second');
    assert.equal(
      await readFile(join(mount.mount_path, 'partition-1', 'A long name of a file.efi'), 'utf8'),
      'firmware',
    );
    assert.equal(await readFile(join(mount.mount_path, 'partition-6', 'in-a-logical-volume'), 'utf8'), 'yes');
    await mounts.unmount(mount.mount_id);
    await assertNothingMounted(world);
    assert.deepEqual(await fingerprints(world), before);
  });

  test('shows them read-only, without devices, programs or set-user-id', async () => {
    const mounts = mountsOf(world);
    const mount = await mounts.mount(full);
    const table = await readFile('/proc/self/mountinfo', 'utf8');
    const lines = table.split('\n').filter((line) => line.includes(`${mount.mount_path}/partition-`));
    assert.equal(lines.length, expected.length);
    for (const line of lines) {
      const options = (line.split(' ')[5] ?? '').split(',');
      for (const option of ['ro', 'nosuid', 'nodev', 'noexec']) assert.ok(options.includes(option), line);
    }
    await assert.rejects(writeFile(join(mount.mount_path, 'partition-2', 'x'), 'x'), { code: 'EROFS' });
    assert.equal((await stat(join(mount.mount_path, 'partition-2'))).isDirectory(), true);
    await mounts.unmount(mount.mount_id);
    await assertNothingMounted(world);
  });

  test('a full backup and its increment are mounted side by side, each as it was', async () => {
    const mounts = mountsOf(world);
    const [older, newer] = [await mounts.mount(full), await mounts.mount(increment)];
    assert.notEqual(older.mount_id, newer.mount_id);
    await assertFiles(older, 'first');
    await assertFiles(newer, 'second');
    for (let number = 1; number <= expected.length; number += 1) {
      const names = await readdir(join(older.mount_path, `partition-${number}`));
      assert.ok(!names.includes('second'), `partition ${number} of the full backup shows what came later`);
    }
    assert.deepEqual(
      (await mounts.list()).map(({ mount_id: id }) => id),
      [newer.mount_id, older.mount_id],
    );
    await Promise.all([mounts.unmount(older.mount_id), mounts.unmount(newer.mount_id)]);
    await assertNothingMounted(world);
  });

  test('the same disk, asked for at the same time and again, has one mount', async () => {
    const mounts = mountsOf(world);
    const both = await Promise.all([mounts.mount(full), mounts.mount(full), mounts.mount(full)]);
    assert.equal(new Set(both.map(({ mount_id: id }) => id)).size, 1);
    const again = await mounts.mount(full);
    assert.equal(again.mount_id, both[0]?.mount_id);
    assert.ok(again.expires_at >= (both[0]?.expires_at ?? ''));
    assert.equal((await mounts.list()).length, 1);
    await mounts.unmount(again.mount_id);
    assert.equal((await mounts.tryUnmount(again.mount_id)).status, 404);
    await assertNothingMounted(world);
  });

  test('a disk without a partition table is mounted as a whole', async () => {
    const mounts = mountsOf(world);
    const mount = await mounts.mount(full, 1);
    assert.equal(mount.partition_metadata, undefined);
    assert.equal(mount.filesystem_type, 'ext4');
    assert.deepEqual(await readdir(mount.mount_path), ['lost+found']);
    assert.deepEqual(
      (await mountsBelow(mount.mount_path)).map(({ mountPoint }) => mountPoint),
      [mount.mount_path],
    );
    await mounts.unmount(mount.mount_id);
    await assertNothingMounted(world);
  });

  test('what cannot be mounted is refused, and says why', async () => {
    const { attempt } = mountsOf(world);
    assert.equal((await attempt('backup-nobody-1')).status, 404);
    assert.equal((await attempt(full, 7)).status, 404);
    await assertNothingMounted(world);
  });

  test('a mounted backup is not deleted', async () => {
    const mounts = mountsOf(world);
    const mount = await mounts.mount(increment);
    const refused = await world.call<{ error: string }>('DELETE', `/backups/${increment}`);
    assert.equal(refused.status, 409);
    assert.match(refused.body.error, new RegExp(mount.mount_id));
    assert.equal((await world.call('DELETE', `/backups/${full}`)).status, 409, 'what a mounted disk is based on');
    await mounts.unmount(mount.mount_id);
    await assertNothingMounted(world);
  });
});
