import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { execa } from 'execa';
import { loopsBelow, mountsBelow } from '../../src/infra/mounts/mount-table.ts';
import { eventually } from './eventually.ts';
import type { Reply } from './hub-process.ts';
import { filesBelow } from './images.ts';
import { isProgram, processesOf, signalProcess } from './processes.ts';
import type { World } from './world.ts';

export type WireMount = Readonly<{
  mount_id: string;
  backup_id: string;
  backup_disk_id: number;
  disk_index: number;
  mount_path: string;
  nbd_device: string;
  driver: string;
  filesystem_type: string;
  status: string;
  created_at: string;
  last_accessed_at: string;
  expires_at: string;
  partition_metadata?: string;
}>;

export type WirePartitions = Readonly<{
  partitions: readonly Readonly<{
    partition_name: string;
    size: number;
    filesystem: string;
    label: string;
    mount_path: string;
  }>[];
  skipped?: readonly Readonly<{ partition_name: string; filesystem: string; reason: string }>[];
}>;

export type WireRefusal = Readonly<{ error: string; message: string; details: string }>;

export const partitionsOf = ({ partition_metadata: text }: WireMount): WirePartitions => {
  assert.ok(text, 'the mount names its partitions');
  return JSON.parse(text) as WirePartitions;
};

/** Mounts of a world's hub, by its API. */
export const mountsOf = (world: World) => {
  const attempt = (backupId: string, diskIndex = 0) =>
    world.call<WireMount & WireRefusal>('POST', '/restore/mount', {
      body: { backup_id: backupId, disk_index: diskIndex },
    });
  const list = async () =>
    (await world.call<{ mounts: readonly WireMount[]; count: number }>('GET', '/restore/mounts')).body.mounts;
  return {
    attempt,
    mount: async (backupId: string, diskIndex = 0): Promise<WireMount> => {
      const { status, body } = await attempt(backupId, diskIndex);
      assert.equal(status, 200, JSON.stringify(body));
      assert.equal(body.status, 'mounted');
      return body;
    },
    unmount: async (mountId: string): Promise<void> => {
      const { status, body } = await world.call('DELETE', `/restore/${mountId}`);
      assert.equal(status, 200, JSON.stringify(body));
    },
    tryUnmount: (mountId: string): Promise<Reply<WireRefusal>> => world.call('DELETE', `/restore/${mountId}`),
    list,
    resources: async () => (await world.call<Readonly<Record<string, unknown>>>('GET', '/restore/resources')).body,
    servers: async () => (await processesOf(world.folder)).filter(isProgram('qemu-storage-daemon')),
  };
};

/** Kernel, processes, files and records agree that nothing is mounted. */
export const assertNothingMounted = async (world: World): Promise<void> => {
  const mounts = mountsOf(world);
  assert.deepEqual(await mounts.list(), [], 'mounts by the API');
  const { allocated_devices: devices, available_slots: slots } = await mounts.resources();
  assert.deepEqual([devices, slots], [[], 8], 'slots by the API');
  assert.deepEqual(await mountsBelow(world.folder), [], 'mounts of the kernel');
  await eventually('loop devices are gone', async () => (await loopsBelow(world.folder)).length === 0, 5_000);
  assert.deepEqual(await mounts.servers(), [], 'programs');
  assert.deepEqual(await readdir(join(world.hubData, 'mounts')).catch(() => []), [], 'files of mounts');
  assert.deepEqual(await readdir(join(world.folder, 'restore')).catch(() => []), [], 'folders of mounts');
};

/** Whatever a failed test left: mounts must be gone before files are removed. */
export const clearMounts = async (world: World): Promise<void> => {
  for (const { pid } of await mountsOf(world).servers()) signalProcess(pid, 'SIGTERM');
  for (const { mountPoint } of (await mountsBelow(world.folder)).toReversed())
    await execa('umount', ['--lazy', mountPoint], { reject: false });
  for (const { device } of await loopsBelow(world.folder))
    await execa('losetup', ['--detach', device], { reject: false });
};

export const sha256Of = async (path: string): Promise<string> => {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
};

/** Of every file of the repository: what mounting must not change. */
export const fingerprints = async (world: World): Promise<Readonly<Record<string, string>>> => {
  const images = (await filesBelow(world.repositoryPath)).filter((path) => path.endsWith('.qcow2')).sort();
  return Object.fromEntries(await Promise.all(images.map(async (path) => [path, await sha256Of(path)] as const)));
};
