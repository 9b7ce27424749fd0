import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, readdir, readFile, readlink, writeFile } from 'node:fs/promises';
import { get, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { execa } from 'execa';
import { loopsBelow, mountsBelow } from '../../src/infra/mounts/mount-table.ts';
import { eventually } from '../support/eventually.ts';
import { assertNothingMounted, clearMounts, mountsOf, type WireMount } from '../support/mounts.ts';
import { makeFilesystem, mountForWriting } from '../support/partitioned-disk.ts';
import { notRoot } from '../support/root.ts';
import { mib, World } from '../support/world.ts';

const diskBytes = 96 * mib;
const fileBytes = 32 * mib;
const names = ['one.bin', 'two.bin', 'three.bin'];

type Audited = Readonly<{ events: readonly Readonly<{ event_type: string; outcome: string }>[] }>;

describe('a hub that is killed while files are downloaded', { skip: notRoot }, () => {
  let world: World;
  let backupId = '';
  /** More than the sockets between hub and reader hold, and nothing that could be packed. */
  const large = randomBytes(fileBytes);
  const small = names.map(() => randomBytes(8 * mib));

  const at = ({ mount_id: id }: WireMount, route: string, path: string): string =>
    `${world.hub.url}/api/v1/restore/${id}/${route}?${new URLSearchParams({ path })}`;

  before(async () => {
    world = await World.open({ disks: [{ sizeBytes: diskBytes, dataBytes: mib }] });
    const disk = world.vm.disks[0] ?? '';
    await makeFilesystem(disk, { offset: 0, size: diskBytes }, 'ext4', 'files');
    const inUse = await mountForWriting(disk, { offset: 0, size: diskBytes }, 'ext4');
    await writeFile(join(inUse.folder, 'large.bin'), large);
    await mkdir(join(inUse.folder, 'folder'));
    for (const [index, content] of small.entries())
      await writeFile(join(inUse.folder, 'folder', names[index] ?? ''), content);
    await inUse.unmount();
    backupId = (await world.backUp('full')).backup_id;
  });
  afterEach(() => assertNothingMounted(world));
  after(async () => {
    if (!world) return;
    await clearMounts(world);
    await world.close();
  });

  /** Its first bytes are there, and nobody takes the rest: it cannot come to its end. */
  const begin = async (url: string): Promise<IncomingMessage> => {
    const [response] = (await once(get(url, { agent: false }), 'response')) as [IncomingMessage];
    response.on('error', () => undefined); // it is broken off
    assert.equal(response.statusCode, 200);
    await once(response, 'readable');
    return response;
  };

  /** Files below the mount that the hub's process has open. */
  const openFiles = async ({ mount_path: path }: WireMount): Promise<readonly string[]> => {
    const folder = `/proc/${world.hub.pid}/fd`;
    const targets = await Promise.all((await readdir(folder)).map((fd) => readlink(join(folder, fd)).catch(() => '')));
    return targets.filter((target) => target.startsWith(`${path}/`)).map((target) => target.slice(path.length));
  };

  /** A file and a folder that are being downloaded, both in their middle. */
  const inTheMiddle = async (mount: WireMount): Promise<readonly IncomingMessage[]> => {
    const downloads = await Promise.all([
      begin(at(mount, 'download', '/large.bin')),
      begin(at(mount, 'download-directory', '/folder')),
    ]);
    const open = await openFiles(mount);
    assert.ok(open.includes('/large.bin') && open.some((path) => path.startsWith('/folder/')), open.join());
    return downloads;
  };

  const assertBrokenOff = async (downloads: readonly IncomingMessage[]): Promise<void> => {
    for (const response of downloads)
      await assert.rejects(async () => {
        for await (const _ of response);
      }, 'a part is not taken for the whole');
  };

  /** What a mount consists of, as the kernel and the processes say. */
  const partsOf = async (): Promise<readonly number[]> => [
    (await mountsBelow(world.folder)).length,
    (await loopsBelow(world.folder)).length,
    (await mountsOf(world).servers()).length,
  ];

  const assertDownloads = async (mount: WireMount): Promise<void> => {
    const file = await fetch(at(mount, 'download', '/large.bin'));
    assert.ok(large.equals(Buffer.from(await file.arrayBuffer())));
    const zip = join(world.folder, 'kept', 'folder.zip');
    const archive = await fetch(at(mount, 'download-directory', '/folder'));
    await writeFile(zip, Buffer.from(await archive.arrayBuffer()));
    const target = join(world.folder, 'kept', mount.mount_id);
    await execa('unzip', ['-q', zip, '-d', target]);
    for (const [index, name] of names.entries())
      assert.ok(small[index]?.equals(await readFile(join(target, name))), name);
  };

  test('leaves the mount to the next one, which serves it and takes it down at once', async () => {
    const mounts = mountsOf(world);
    const mount = await mounts.mount(backupId);
    const parts = await partsOf();
    const downloads = await inTheMiddle(mount);
    await world.killHub();
    await assertBrokenOff(downloads);
    assert.deepEqual(await partsOf(), parts, 'no more and no less than before');
    await world.startHub();
    assert.deepEqual(
      (await mounts.list()).map(({ mount_id: id }) => id),
      [mount.mount_id],
    );
    assert.deepEqual(await partsOf(), parts);
    const adopted = await mounts.mount(backupId);
    assert.equal(adopted.mount_id, mount.mount_id);
    await assertDownloads(adopted);
    await mounts.unmount(mount.mount_id);
    await assertNothingMounted(world);
    const anew = await mounts.mount(backupId);
    assert.notEqual(anew.mount_id, mount.mount_id);
    await assertDownloads(anew);
    await mounts.unmount(anew.mount_id);
  });

  test('has told who downloaded what, though not how it ended', async () => {
    const mounts = mountsOf(world);
    const mount = await mounts.mount(backupId);
    const downloads = await inTheMiddle(mount);
    await world.killHub();
    await assertBrokenOff(downloads);
    await world.startHub();
    await mounts.unmount(mount.mount_id);
    const lines = ['DownloadDirectory accepted', 'DownloadFile accepted', 'MountDisk accepted', 'UnmountDisk accepted'];
    const told = async () => {
      const { events } = (await world.call<Audited>('GET', `/audit?object=${mount.mount_id}`)).body;
      return events.map(({ event_type: type, outcome }) => `${type} ${outcome}`).sort();
    };
    await eventually('the trail has it', async () => (await told()).length === lines.length);
    assert.deepEqual(await told(), lines);
    const { body } = await world.call<{ ok: boolean }>('POST', '/audit/verify');
    assert.equal(body.ok, true, JSON.stringify(body));
  });

  test('no longer holds the mount open: it expires with the next one', async () => {
    const mounts = mountsOf(world);
    const soon = { SENDENSE_MOUNT_IDLE_SECONDS: '2', SENDENSE_MOUNT_SWEEP_SECONDS: '1' };
    await world.stopHub();
    await world.startHub(soon);
    const mount = await mounts.mount(backupId);
    const downloads = await inTheMiddle(mount);
    const { expires_at: first } = mount;
    await eventually('who downloads keeps it', async () => ((await mounts.list())[0]?.expires_at ?? first) > first);
    await world.killHub();
    await assertBrokenOff(downloads);
    await world.startHub(soon);
    await eventually('it has expired', async () => (await mounts.resources()).available_slots === 8);
  });
});
