import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { changeVm } from '../../src/demo/change-vm.ts';
import { filesystemIn, type LabDisk } from '../../src/demo/lab-disk.ts';
import { type LabVm, makeLabVm } from '../../src/demo/lab-vm.ts';
import { createTools } from '../../src/demo/tools.ts';
import { copyDisks, verifyBackup } from '../../src/demo/verify.ts';

const mib = 1024 ** 2;
const sizeBytes = 128 * mib;

const makeFolder = async (t: TestContext): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'demo-vm-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
};

const makeVm = (folder: string, signal: AbortSignal): Promise<LabVm> =>
  makeLabVm({ root: folder, name: 'lab1', sizeBytes, scratchFolder: folder }, signal);

/** A copy of the disk as the guest sees it. */
const asRaw = async ({ path, format, index }: LabDisk, folder: string, signal: AbortSignal): Promise<string> => {
  const raw = join(folder, `as-raw-${index}`);
  await createTools(signal)(['qemu-img', 'convert', '-f', format, '-O', 'raw', path, raw]);
  return raw;
};

const digest = async (path: string, signal: AbortSignal): Promise<string> => {
  const { stdout } = await createTools(signal)(['sha256sum', path]);
  return stdout.split(' ')[0] ?? '';
};

test('each disk has a partition table, a sound ext4 filesystem and files in a third of it', async (t) => {
  const folder = await makeFolder(t);
  const { disks } = await makeVm(folder, t.signal);
  const run = createTools(t.signal);
  assert.deepEqual(
    disks.map(({ format }) => format),
    ['raw', 'qcow2'],
  );
  for (const disk of disks) {
    const raw = await asRaw(disk, folder, t.signal);
    await run(['e2fsck', '-fn', filesystemIn(raw)]);
    assert.match((await run(['sfdisk', '--dump', raw])).stdout, /start= +2048,.*type=83/);
    assert.match((await run(['debugfs', '-R', 'cat /etc/motd', filesystemIn(raw)])).stdout, /Sendense demo/);
    const { stdout } = await run(['du', '--block-size=1', raw]);
    const share = Number(stdout.split('\t')[0]) / disk.capacityBytes;
    assert.ok(share > 0.25 && share < 0.5, `${share} of the disk is filled`);
  }
  assert.deepEqual(
    (await readdir(folder)).filter((name) => name.startsWith('content')),
    [],
  );
});

test('the files of the same VM hold the same bytes at the same places', async (t) => {
  const [first, second] = [await makeFolder(t), await makeFolder(t)];
  const run = createTools(t.signal);
  const contentOf = async (folder: string): Promise<string> => {
    const { disks } = await makeVm(folder, t.signal);
    assert.ok(disks[0]);
    const dumped = join(folder, 'dumped');
    await run(['debugfs', '-R', `dump /var/lib/database.db ${dumped}`, filesystemIn(disks[0].path)]);
    return `${JSON.stringify(disks[0].databaseRanges)} ${await digest(dumped, t.signal)}`;
  };
  assert.equal(await contentOf(first), await contentOf(second));
});

test('a change is one of files: the filesystem stays sound, data becomes zeroes in places, every disk differs', async (t) => {
  const folder = await makeFolder(t);
  const vm = await makeVm(folder, t.signal);
  const before = await copyDisks(vm.disks, join(folder, 'before'), t.signal);
  const change = await changeVm(vm, folder, t.signal);
  assert.ok(change.zeroedBytes > 0 && change.rewrittenBytes > change.zeroedBytes, JSON.stringify(change));
  const run = createTools(t.signal);
  const [system] = vm.disks;
  assert.ok(system);
  await run(['e2fsck', '-fn', filesystemIn(system.path)]);
  const { stdout } = await run(['debugfs', '-R', 'ls -p /srv/archive', filesystemIn(system.path)]);
  assert.match(stdout, /\/2026\.tar\//);
  assert.doesNotMatch(stdout, /\/2024\.tar\//);
  for (const [index, disk] of vm.disks.entries()) {
    const reference = before[index];
    assert.ok(reference);
    const command = [
      'qemu-img',
      'compare',
      '-f',
      disk.format,
      '-F',
      reference.format,
      disk.path,
      reference.path,
    ] as const;
    await assert.rejects(run(command), /Content mismatch/);
  }
});

test('a single byte in which a backup differs is found, and where', async (t) => {
  const folder = await makeFolder(t);
  const { disks } = await makeVm(folder, t.signal);
  const run = createTools(t.signal);
  const images = await Promise.all(
    disks.map(async ({ path, format, index }) => {
      const image = join(folder, `backup-${index}.qcow2`);
      await run(['qemu-img', 'convert', '-f', format, '-O', 'qcow2', path, image]);
      return image;
    }),
  );
  const identical = await verifyBackup(images, disks, t.signal);
  assert.deepEqual(
    identical.map((verdict) => verdict.identical),
    [true, true],
  );
  await run(['qemu-io', '-f', 'qcow2', '-c', `write -q -P 1 ${20 * mib} 1`, images[1] ?? '']);
  const [system, data] = await verifyBackup(images, disks, t.signal);
  assert.equal(system?.identical, true);
  assert.equal(data?.identical, false);
  assert.match(data?.detail ?? '', /offset \d+/);
});

test('making a VM ends at once when it is no longer wanted, and leaves no scratch files', async (t) => {
  const folder = await makeFolder(t);
  const stop = new AbortController();
  const made = makeVm(folder, stop.signal);
  stop.abort(new Error('not wanted'));
  await assert.rejects(made, /not wanted|AbortError/);
  assert.deepEqual(
    (await readdir(folder)).filter((name) => name.startsWith('content')),
    [],
  );
});
