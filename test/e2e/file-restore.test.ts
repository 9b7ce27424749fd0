import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmod, link, mkdir, open, readdir, symlink, writeFile } from 'node:fs/promises';
import { get, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { eventually } from '../support/eventually.ts';
import { assertNothingMounted, clearMounts, mountsOf } from '../support/mounts.ts';
import { makeFilesystem, mountForWriting } from '../support/partitioned-disk.ts';
import { notRoot } from '../support/root.ts';
import { mib, World } from '../support/world.ts';

const run = promisify(execFile);
const diskBytes = 64 * mib;
const changing = 'documents/changing.bin';

type Listed = Readonly<{ files: readonly Readonly<{ name: string; path: string }>[]; unreadable_count?: number }>;
type Versions = Readonly<{
  versions: readonly Readonly<{
    backup_id: string;
    found: boolean;
    version: number | null;
    sha256: string | null;
    error: string | null;
  }>[];
  version_count: number;
}>;
type Audited = Readonly<{
  events: readonly Readonly<{
    event_type: string;
    outcome: string;
    actor: string;
    data: Readonly<Record<string, string>>;
  }>[];
}>;

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Whatever somebody with root inside the machine can leave for those who restore from it. */
const fillHostile = async (root: string): Promise<void> => {
  await mkdir(join(root, 'documents'));
  await mkdir(join(root, 'hostile/loop'), { recursive: true });
  const targets = {
    root: '/',
    up: '../..',
    absolute: '/etc/passwd',
    circle: 'circle',
    'loop/again': '..',
    inside: '../documents',
  };
  for (const [name, target] of Object.entries(targets)) await symlink(target, join(root, 'hostile', name));
  for (const name of ['new\nline', '"quoted".txt', '\\..\\..\\evil', 'x'.repeat(255)])
    await writeFile(join(root, 'hostile', name), name);
  await writeFile(Buffer.from(`${root}/hostile/Gr\xf6\xdfe`, 'latin1'), 'in Latin-1');
  await run('mkfifo', [join(root, 'hostile/fifo')]);
  await run('mknod', [join(root, 'hostile/disk'), 'b', '8', '0']);
  await writeFile(join(root, 'hostile/setuid'), '#!/bin/sh');
  await chmod(join(root, 'hostile/setuid'), 0o4755);
  await link(join(root, 'hostile/setuid'), join(root, 'hostile/same'));
  await mkdir(join(root, 'hostile', ...Array(60).fill('deep')), { recursive: true });
  await writeFile(join(root, 'hostile/broken'), 'its inode is about to be lost');
  await mkdir(join(root, 'holes'));
  const sparse = await open(join(root, 'holes/sparse'), 'w');
  await sparse.truncate(8 * 1024 * mib);
  await sparse.close();
};

describe('files of a backup, from a disk that does not mean well', { skip: notRoot }, () => {
  let world: World;
  const contents: Buffer[] = [];
  const backups: string[] = [];

  const diskPath = (): string => world.vm.disks[0] as string;
  const at = (mountId: string, route: string, query: Readonly<Record<string, string>>): string =>
    `${world.hub.url}/api/v1/restore/${mountId}/${route}?${new URLSearchParams(query)}`;
  const list = async (mountId: string, path: string, more: Readonly<Record<string, string>> = {}) =>
    (await (await fetch(at(mountId, 'files', { path, ...more }))).json()) as Listed;

  const backUpWith = async (type: 'full' | 'incremental', content: Buffer | undefined): Promise<void> => {
    if (content) {
      const inUse = await mountForWriting(diskPath(), { offset: 0, size: diskBytes }, 'ext4');
      await writeFile(join(inUse.folder, changing), content);
      await inUse.unmount();
      contents.push(content);
    }
    backups.push((await world.backUp(type)).backup_id);
  };

  before(async () => {
    world = await World.open({ disks: [{ sizeBytes: diskBytes, dataBytes: mib }] });
    await makeFilesystem(diskPath(), { offset: 0, size: diskBytes }, 'ext4', 'whole');
    const inUse = await mountForWriting(diskPath(), { offset: 0, size: diskBytes }, 'ext4');
    await fillHostile(inUse.folder);
    await inUse.unmount();
    await run('debugfs', ['-w', '-R', 'clri /hostile/broken', diskPath()]);
    await backUpWith('full', randomBytes(3 * mib));
    await backUpWith('incremental', randomBytes(3 * mib));
    await backUpWith('incremental', undefined);
  });
  after(async () => {
    if (!world) return;
    await clearMounts(world);
    await world.close();
  });

  test('each backup gives the file as it was then, and part of it to who goes on', async () => {
    const mounts = mountsOf(world);
    for (const [index, content] of contents.entries()) {
      const { mount_id: id } = await mounts.mount(backups[index] ?? '');
      const url = at(id, 'download', { path: `/${changing}` });
      assert.ok(content.equals(Buffer.from(await (await fetch(url)).arrayBuffer())));
      const part = await fetch(url, { headers: { range: `bytes=${mib}-` } });
      assert.equal(part.status, 206);
      assert.ok(content.subarray(mib).equals(Buffer.from(await part.arrayBuffer())));
      await mounts.unmount(id);
    }
    await assertNothingMounted(world);
  });

  test('nothing in the disk leads out of it, and nothing in it keeps the rest from being read', async () => {
    const mounts = mountsOf(world);
    const { mount_id: id } = await mounts.mount(backups[0] ?? '');
    const hostile = await list(id, '/hostile');
    assert.equal(hostile.unreadable_count, 1);
    for (const { path } of hostile.files) {
      const response = await fetch(at(id, 'download', { path }));
      const outside = ['/hostile/root', '/hostile/up', '/hostile/absolute'].includes(path);
      const nothing = ['/hostile/fifo', '/hostile/disk'].includes(path);
      assert.equal(response.status, outside ? 403 : nothing ? 400 : path === '/hostile/circle' ? 404 : 200, path);
      await response.arrayBuffer();
    }
    assert.equal((await fetch(at(id, 'download', { path: '/hostile/broken' }))).status, 422);
    assert.equal((await fetch(at(id, 'files', { path: '/hostile/up/etc' }))).status, 403);
    assert.ok((await list(id, '/', { recursive: 'true' })).files.length > 80);

    const folder = join(world.folder, 'kept');
    for (const format of ['zip', 'tar.gz']) {
      const response = await fetch(at(id, 'download-directory', { path: '/hostile', format }));
      await writeFile(join(folder, `hostile.${format}`), Buffer.from(await response.arrayBuffer()));
      const target = join(folder, `from-${format}`);
      await mkdir(target);
      if (format === 'zip') await run('unzip', ['-q', join(folder, 'hostile.zip'), '-d', target]);
      else await run('tar', ['-xf', join(folder, 'hostile.tar.gz'), '-C', target]);
      const names = await readdir(target);
      assert.ok(names.includes('_unreadable-files.txt') && names.includes('setuid'), names.join());
      assert.equal(names.includes('absolute'), format === 'tar.gz');
    }
    assert.deepEqual(await readdir(folder), ['from-tar.gz', 'from-zip', 'hostile.tar.gz', 'hostile.zip']);
    await mounts.unmount(id);
    await assertNothingMounted(world);
  });

  test('the versions of a file are found across its backups, and nothing stays mounted but what was', async () => {
    const mounts = mountsOf(world);
    const { mount_id: id } = await mounts.mount(backups[1] ?? '');
    const ask = async (path: string, more = {}) => {
      const query = new URLSearchParams({ vm_name: world.vm.name, disk_index: '0', path, ...more });
      return (await world.call<Versions>('GET', `/backups/files/versions?${query}`)).body;
    };
    const { versions, version_count } = await ask(`/${changing}`, { sha256: 'true' });
    assert.equal(version_count, 2);
    assert.deepEqual(
      versions.map(({ backup_id, version, sha256, error }) => [backup_id, version, sha256, error]),
      [0, 1, 1].map((content, index) => [backups[index], content + 1, sha256(contents[content] as Buffer), null]),
    );
    const none = await ask('/nowhere');
    assert.deepEqual(
      none.versions.map(({ found, error }) => [found, error]),
      Array(3).fill([false, null]),
    );
    assert.deepEqual(
      (await mounts.list()).map(({ mount_id }) => mount_id),
      [id],
    );
    await mounts.unmount(id);
    await assertNothingMounted(world);
  });

  test('an unmount ends a download, and both are in the audit trail with the names of who asked', async () => {
    const mounts = mountsOf(world);
    const { mount_id: id } = await mounts.mount(backups[0] ?? '');
    const [response] = (await once(get(at(id, 'download', { path: '/holes/sparse' })), 'response')) as [
      IncomingMessage,
    ];
    await once(response, 'readable');
    await mounts.unmount(id);
    await assert.rejects(async () => {
      for await (const _ of response) assert.ok(true);
    });
    await assertNothingMounted(world);
    const lines = ['DownloadFile accepted', 'DownloadFile failed', 'MountDisk accepted', 'UnmountDisk accepted'];
    const audited = async () => (await world.call<Audited>('GET', `/audit?object=${id}`)).body.events;
    await eventually('the trail tells it all', async () => (await audited()).length === lines.length);
    const events = await audited();
    assert.deepEqual(events.map(({ event_type, outcome }) => `${event_type} ${outcome}`).sort(), lines);
    const downloads = events.filter(({ event_type }) => event_type === 'DownloadFile');
    assert.deepEqual([...new Set(downloads.map(({ data }) => data.path))], ['/holes/sparse']);
    assert.ok(Number(downloads[0]?.data.bytes) < 8 * 1024 * mib && downloads[1]?.data.bytes === `${8 * 1024 * mib}`);
    assert.equal(new Set(events.map(({ actor }) => actor)).size, 1);
  });
});
