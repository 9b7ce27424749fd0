import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, open, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { execa } from 'execa';
import { loopsBelow } from '../../src/infra/mounts/mount-table.ts';
import { eventually } from '../support/eventually.ts';
import { assertNothingMounted, clearMounts, mountsOf, type WireMount } from '../support/mounts.ts';
import { signalProcess } from '../support/processes.ts';
import { notRoot } from '../support/root.ts';
import type { WireBackup } from '../support/wire.ts';
import { mib, World } from '../support/world.ts';

const diskCount = 9;

describe('mounts on bad days', { skip: notRoot }, () => {
  let world: World;
  let backup: WireBackup;

  const imageOf = (index: number): string => backup.disk_results[index]?.qcow2_path as string;
  const hostnameIn = ({ mount_path: path }: WireMount): Promise<string> =>
    readFile(join(path, 'partition-1', 'etc', 'hostname'), 'utf8');
  const only = <T>(items: readonly T[]): T => {
    assert.equal(items.length, 1);
    return items[0] as T;
  };

  before(async () => {
    const disks = Array.from({ length: diskCount }, () => ({ sizeBytes: 16 * mib, dataBytes: mib / 4 }));
    world = await World.open({ disks, portCount: 20 });
    backup = await world.backUp('full');
  });
  afterEach(() => assertNothingMounted(world));
  after(async () => {
    if (!world) return;
    await clearMounts(world);
    await world.close();
  });

  test('eight disks are mounted at once, and a ninth when one of them has gone', async () => {
    const mounts = mountsOf(world);
    const all = await Promise.all(Array.from({ length: 8 }, (_, disk) => mounts.mount(backup.backup_id, disk)));
    assert.equal(new Set(all.map(({ nbd_device: device }) => device)).size, 8);
    for (const mount of all) assert.equal(await hostnameIn(mount), `pgtest1-${mount.disk_index}\n`);
    const refused = await mounts.attempt(backup.backup_id, 8);
    assert.equal(refused.status, 503);
    assert.match(refused.body.error, /8 of 8/);
    assert.equal((await mounts.resources()).device_utilization, '100.0%');
    await mounts.unmount(all[3]?.mount_id ?? '');
    const ninth = await mounts.mount(backup.backup_id, 8);
    assert.equal(await hostnameIn(ninth), 'pgtest1-8\n');
    const living = (await mounts.list()).map(({ mount_id: id }) => id);
    await Promise.all(living.map((id) => mounts.unmount(id)));
  });

  for (const how of ['SIGKILL', 'SIGTERM'] as const) {
    test(`a mount whose program ends by ${how} goes by itself, and the disk can be mounted again`, async () => {
      const mounts = mountsOf(world);
      const mount = await mounts.mount(backup.backup_id);
      signalProcess(only(await mounts.servers()).pid, how);
      await eventually('the dead mount is gone', async () => (await mounts.list()).length === 0);
      await eventually('its slot is free', async () => (await mounts.resources()).available_slots === 8);
      const again = await mounts.mount(backup.backup_id);
      assert.notEqual(again.mount_id, mount.mount_id);
      assert.equal(await hostnameIn(again), 'pgtest1-0\n');
      await mounts.unmount(again.mount_id);
    });
  }

  test('a mount outlives a hub that is killed', async () => {
    const mounts = mountsOf(world);
    const mount = await mounts.mount(backup.backup_id);
    await world.killHub();
    assert.equal(await hostnameIn(mount), 'pgtest1-0\n');
    await world.startHub();
    assert.equal(only(await mounts.list()).mount_id, mount.mount_id);
    assert.equal((await mounts.mount(backup.backup_id)).mount_id, mount.mount_id);
    assert.equal(await hostnameIn(mount), 'pgtest1-0\n');
    await mounts.unmount(mount.mount_id);
  });

  test('a mount that vanished while no hub ran is closed by the next one', async () => {
    const mounts = mountsOf(world);
    await mounts.mount(backup.backup_id);
    const { pid } = only(await mounts.servers());
    await world.killHub();
    signalProcess(pid, 'SIGKILL');
    await world.startHub();
    await eventually('the hub has closed it', async () => (await mounts.resources()).available_slots === 8);
  });

  test('a hub that is killed while it mounts leaves nothing that blocks the next', async () => {
    const mounts = mountsOf(world);
    const attempts = [0, 1, 2].map((disk) => mounts.attempt(backup.backup_id, disk).catch(() => undefined));
    await eventually('it has begun', async () => (await mounts.servers()).length > 0);
    await world.killHub();
    await Promise.all(attempts);
    await world.startHub();
    const after = await Promise.all([0, 1, 2].map((disk) => mounts.mount(backup.backup_id, disk)));
    for (const mount of after) assert.equal(await hostnameIn(mount), `pgtest1-${mount.disk_index}\n`);
    await Promise.all(after.map(({ mount_id: id }) => mounts.unmount(id)));
  });

  test('a disk is unmounted under somebody who stands in it', async () => {
    const mounts = mountsOf(world);
    const mount = await mounts.mount(backup.backup_id);
    const shell = spawn('sleep', ['60'], { cwd: join(mount.mount_path, 'partition-1', 'etc'), stdio: 'ignore' });
    try {
      await once(shell, 'spawn');
      await mounts.unmount(mount.mount_id);
      assert.deepEqual(await mounts.list(), []);
    } finally {
      shell.kill('SIGKILL');
      await once(shell, 'exit');
    }
    await eventually('the last device goes with them', async () => (await loopsBelow(world.folder)).length === 0);
  });

  test('a disk whose image is gone is refused; one that is mounted stays readable', async () => {
    const mounts = mountsOf(world);
    const mount = await mounts.mount(backup.backup_id, 1);
    const aside = `${imageOf(1)}.aside`;
    await rename(imageOf(1), aside);
    try {
      assert.equal(await hostnameIn(mount), 'pgtest1-1\n');
      assert.ok((await readdir(join(mount.mount_path, 'partition-1', 'var'))).length > 0);
      await mounts.unmount(mount.mount_id);
      const refused = await mounts.attempt(backup.backup_id, 1);
      assert.equal(refused.status, 422);
      assert.match(refused.body.error, /gone/);
    } finally {
      await rename(aside, imageOf(1));
    }
    await mounts.unmount((await mounts.mount(backup.backup_id, 1)).mount_id);
  });

  test('a damaged image is refused with the words of QEMU, and blocks nothing', async () => {
    const mounts = mountsOf(world);
    const image = imageOf(2);
    await chmod(image, 0o644);
    const kept = Buffer.alloc(16);
    {
      await using file = await open(image, 'r+');
      await file.read(kept, 0, 16, 40);
      await file.write(Buffer.alloc(16, 0xff), 0, 16, 40); // where the L1 table is
    }
    for (const _ of [1, 2]) {
      const refused = await mounts.attempt(backup.backup_id, 2);
      assert.equal(refused.status, 422, JSON.stringify(refused.body));
      assert.match(refused.body.error, /^Could not open backing file: /);
    }
    {
      await using file = await open(image, 'r+');
      await file.write(kept, 0, 16, 40);
    }
    await mounts.unmount((await mounts.mount(backup.backup_id, 2)).mount_id);
  });

  test('what is there without being in the log is taken down by the next hub', async () => {
    const mountId = '00000000-0000-4000-8000-000000000000';
    const runtimeFolder = join(world.hubData, 'mounts', mountId);
    const mountPath = join(world.folder, 'restore', mountId);
    await world.stopHub();
    await mkdir(runtimeFolder, { recursive: true });
    await writeFile(join(runtimeFolder, 'mount.json'), JSON.stringify({ mountId, slot: 0, driver: 'fuse', mountPath }));
    await mkdir(join(mountPath, 'partition-1'), { recursive: true });
    await execa('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'stray', join(mountPath, 'partition-1')]);
    await world.startHub();
    await eventually('it is gone', async () => (await readdir(join(world.hubData, 'mounts'))).length === 0);
  });

  test('a mount that nobody reads from expires', async () => {
    const mounts = mountsOf(world);
    await world.stopHub();
    await world.startHub({ SENDENSE_MOUNT_IDLE_SECONDS: '1', SENDENSE_MOUNT_SWEEP_SECONDS: '1' });
    await mounts.mount(backup.backup_id);
    await eventually('it has expired', async () => (await mounts.resources()).available_slots === 8);
    const { body } = await world.call<Readonly<Record<string, unknown>>>('GET', '/restore/cleanup-status');
    assert.deepEqual(
      [body.running, body.cleanup_interval, body.idle_timeout, body.active_mount_count],
      [true, '1s', '1s', 0],
    );
    assert.match(String(body.last_cleanup), /^\d{4}-.*Z$/);
  });
});
