import assert from 'node:assert/strict';
import { chmod, cp, mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { execa } from 'execa';
import { createDiskImages } from '#infra/qemu/disk-images.ts';
import { PermanentFailure } from '#process-managers/ports.ts';

const never = new AbortController().signal;
const images = createDiskImages();
const mib = 2 ** 20;

const folder = async (t: TestContext): Promise<string> => {
  const root = await mkdtemp(join(tmpdir(), 'sendense-images-'));
  t.after(() => rm(root, { recursive: true, force: true }));
  return root;
};

const info = async (path: string) =>
  JSON.parse((await execa('qemu-img', ['info', '-U', '--output=json', path])).stdout);

const modeOf = async (path: string): Promise<string> => ((await stat(path)).mode & 0o777).toString(8);

test('a base is an empty qcow2 of the asked size, alone in its folder', async (t) => {
  const root = await folder(t);
  const imagePath = join(root, 'ctx-pgtest1', 'disk-0', 'full.qcow2');
  await images.create({ imagePath, virtualSizeBytes: 10 * mib }, never);
  const { format, 'virtual-size': size, 'cluster-size': cluster, 'backing-filename': backing } = await info(imagePath);
  assert.deepEqual(
    { format, size, cluster, backing },
    { format: 'qcow2', size: 10 * mib, cluster: mib, backing: undefined },
  );
  assert.deepEqual(await readdir(join(root, 'ctx-pgtest1', 'disk-0')), ['full.qcow2']);
  assert.equal(await modeOf(imagePath), '644');
  assert.equal(await modeOf(join(root, 'ctx-pgtest1')), '755');
});

test('a size that is no multiple of a sector is rounded up, as qemu does, and stays the same request', async (t) => {
  const imagePath = join(await folder(t), 'odd.qcow2');
  await images.create({ imagePath, virtualSizeBytes: 1_000_001 }, never);
  await images.create({ imagePath, virtualSizeBytes: 1_000_001 }, never);
  assert.equal((await images.inspect(imagePath, never)).virtualSizeBytes, 1_000_448);
});

test('a chain that is copied to another folder opens there and holds the same data', async (t) => {
  const root = await folder(t);
  const chain = ['full', 'inc-1', 'inc-2'].map((name) => join(root, 'here', `${name}.qcow2`));
  for (const [index, imagePath] of chain.entries()) {
    const basePath = chain[index - 1];
    await images.create({ imagePath, virtualSizeBytes: 10 * mib, ...(basePath ? { basePath } : {}) }, never);
    await execa('qemu-io', ['-f', 'qcow2', '-c', `write -P ${index + 1} ${index * mib} 1M`, imagePath]);
  }
  await cp(join(root, 'here'), join(root, 'there'), { recursive: true });
  await rm(join(root, 'here'), { recursive: true });
  const reads = [0, 1, 2].flatMap((index) => ['-c', `read -P ${index + 1} ${index * mib} 1M`]);
  await execa('qemu-io', ['-r', '-f', 'qcow2', ...reads, join(root, 'there', 'inc-2.qcow2')]);
});

test('an overlay stores a small change small', async (t) => {
  const root = await folder(t);
  const [basePath, imagePath] = [join(root, 'full.qcow2'), join(root, 'inc.qcow2')];
  await images.create({ imagePath: basePath, virtualSizeBytes: 64 * mib }, never);
  await execa('qemu-io', ['-f', 'qcow2', '-c', 'write -P 1 0 64M', basePath]);
  await images.create({ imagePath, virtualSizeBytes: 64 * mib, basePath }, never);
  const before = (await images.inspect(imagePath, never)).actualSizeBytes;
  const writes = Array.from({ length: 32 }, (_, index) => ['-c', `write -P 2 ${index * 2}M 64k`]).flat();
  await execa('qemu-io', ['-f', 'qcow2', ...writes, imagePath]);
  const grownBytes = (await images.inspect(imagePath, never)).actualSizeBytes - before;
  assert.ok(grownBytes < 32 * 65_536 * 2, `2 MiB of changes took ${grownBytes} bytes`);
});

test('an overlay may be larger than its base', async (t) => {
  const root = await folder(t);
  const basePath = join(root, 'full.qcow2');
  const imagePath = join(root, 'inc.qcow2');
  await images.create({ imagePath: basePath, virtualSizeBytes: 10 * mib }, never);
  await images.create({ imagePath, virtualSizeBytes: 20 * mib, basePath }, never);
  const { virtualSizeBytes, backingFile } = await images.inspect(imagePath, never);
  assert.deepEqual({ virtualSizeBytes, backingFile }, { virtualSizeBytes: 20 * mib, backingFile: 'full.qcow2' });
});

test('a repeated create leaves what was written, and refuses another image of that name', async (t) => {
  const root = await folder(t);
  const imagePath = join(root, 'full.qcow2');
  await images.create({ imagePath, virtualSizeBytes: 10 * mib }, never);
  await execa('qemu-io', ['-f', 'qcow2', '-c', 'write -P 7 0 1M', imagePath]);
  await images.create({ imagePath, virtualSizeBytes: 10 * mib }, never);
  await execa('qemu-io', ['-r', '-f', 'qcow2', '-c', 'read -P 7 0 1M', imagePath]);
  await assert.rejects(images.create({ imagePath, virtualSizeBytes: 20 * mib }, never), PermanentFailure);
  const basePath = join(root, 'other.qcow2');
  await assert.rejects(images.create({ imagePath, virtualSizeBytes: 10 * mib, basePath }, never), PermanentFailure);
});

test('what a crash left of a create is replaced', async (t) => {
  const root = await folder(t);
  const imagePath = join(root, 'full.qcow2');
  await writeFile(`${imagePath}.partial`, 'half a header');
  await images.create({ imagePath, virtualSizeBytes: 10 * mib }, never);
  assert.deepEqual(await readdir(root), ['full.qcow2']);
  assert.equal((await info(imagePath)).format, 'qcow2');
});

test('an aborted create leaves nothing', async (t) => {
  const root = await folder(t);
  const abort = new AbortController();
  const creating = images.create({ imagePath: join(root, 'full.qcow2'), virtualSizeBytes: 10 * mib }, abort.signal);
  abort.abort(new Error('shutting down'));
  await assert.rejects(creating, /shutting down/);
  assert.deepEqual(await readdir(root), []);
});

const refusals = [
  { what: 'a relative path', request: { imagePath: 'full.qcow2' } },
  { what: 'a path with dots', request: { imagePath: '/tmp/../tmp/full.qcow2' } },
  { what: 'a folder as path', request: { imagePath: '/tmp/' } },
  { what: 'an empty disk', request: { virtualSizeBytes: 0 } },
  { what: 'a size that is no number', request: { virtualSizeBytes: Number.NaN } },
  { what: 'a base in another folder', request: { basePath: '/var/full.qcow2' } },
  { what: 'a base that qemu would take for a protocol', request: { basePath: '/tmp/nbd:full.qcow2' } },
];
for (const { what, request } of refusals) {
  test(`${what} is refused for good`, async () => {
    const usual = { imagePath: '/tmp/sendense-never-made.qcow2', virtualSizeBytes: mib };
    await assert.rejects(images.create({ ...usual, ...request }, never), PermanentFailure);
  });
}

test('a missing base is a permanent failure', async (t) => {
  const root = await folder(t);
  const request = { imagePath: join(root, 'inc.qcow2'), virtualSizeBytes: mib, basePath: join(root, 'gone.qcow2') };
  await assert.rejects(images.create(request, never), (error) => {
    assert.ok(error instanceof PermanentFailure);
    assert.match(error.message, /gone\.qcow2: no such file/);
    return true;
  });
  assert.deepEqual(await readdir(root), []);
});

const needsRoot = process.getuid?.() === 0 ? false : 'needs root to mount a small file system';
test('a full file system is a permanent failure, and leaves nothing', { skip: needsRoot }, async (t) => {
  const root = await folder(t);
  await execa('mount', ['-t', 'tmpfs', '-o', 'size=4k', 'tmpfs', root]);
  try {
    const request = { imagePath: join(root, 'full.qcow2'), virtualSizeBytes: mib };
    await assert.rejects(images.create(request, never), (error) => {
      assert.ok(error instanceof PermanentFailure);
      assert.match(error.message, /no space left on the device/);
      return true;
    });
    assert.deepEqual(await readdir(root), []);
  } finally {
    await execa('umount', [root]);
  }
});

test('a sealed image is read-only, and sealing may be repeated', async (t) => {
  const imagePath = join(await folder(t), 'ctx', 'disk-0', 'full.qcow2');
  await images.create({ imagePath, virtualSizeBytes: mib }, never);
  await images.seal(imagePath, never);
  await images.seal(imagePath, never);
  assert.equal(await modeOf(imagePath), '444');
  await assert.rejects(images.seal(join(imagePath, 'x'), never), PermanentFailure);
});

test('an image exists, a folder and a missing file do not', async (t) => {
  const root = await folder(t);
  const imagePath = join(root, 'full.qcow2');
  assert.equal(await images.exists(imagePath), false);
  await images.create({ imagePath, virtualSizeBytes: mib }, never);
  assert.equal(await images.exists(imagePath), true);
  assert.equal(await images.exists(root), false);
  assert.equal(await images.exists(join(imagePath, 'x')), false);
});

test('what inspect says is what qemu-img says, beside a writer too', async (t) => {
  const root = await folder(t);
  const [basePath, imagePath] = [join(root, 'full.qcow2'), join(root, 'inc.qcow2')];
  await images.create({ imagePath: basePath, virtualSizeBytes: 10 * mib }, never);
  await images.create({ imagePath, virtualSizeBytes: 10 * mib, basePath }, never);
  const writer = execa('qemu-io', ['-f', 'qcow2', imagePath], { reject: false });
  t.after(() => writer.kill());
  writer.stdin.write('write 0 1M\n');
  for await (const line of writer) if (line.includes('wrote')) break;
  const told = await info(imagePath);
  assert.deepEqual(await images.inspect(imagePath, never), {
    virtualSizeBytes: told['virtual-size'],
    actualSizeBytes: told['actual-size'],
    clusterSizeBytes: told['cluster-size'],
    backingFile: told['backing-filename'],
    format: told.format,
    dirty: told['dirty-flag'],
  });
});

test('a file that is missing, no qcow2 or unreadable cannot be inspected', async (t) => {
  const root = await folder(t);
  const garbage = join(root, 'garbage.qcow2');
  await writeFile(garbage, 'not an image');
  for (const path of [garbage, join(root, 'missing.qcow2'), root, 'relative.qcow2'])
    await assert.rejects(images.inspect(path, never), PermanentFailure);
});

test('deleting removes the image, what lies beside it and the folders it leaves empty', async (t) => {
  const root = await folder(t);
  const disk = join(root, 'ctx-pgtest1', 'disk-0');
  const imagePath = join(disk, 'full.qcow2');
  await images.create({ imagePath, virtualSizeBytes: mib }, never);
  await images.seal(imagePath, never);
  for (const name of ['full.qcow2.json', 'full.qcow2.partial', 'full.qcow2.json.partial', 'chain.json'])
    await writeFile(join(disk, name), '{}');
  await images.delete(imagePath, root);
  assert.deepEqual(await readdir(root), []);
  await images.delete(imagePath, root);
});

test('deleting one image of a chain leaves the others and their description', async (t) => {
  const root = await folder(t);
  const disk = join(root, 'ctx-pgtest1', 'disk-0');
  await mkdir(disk, { recursive: true });
  for (const name of ['full.qcow2', 'full.qcow2.json', 'inc.qcow2', 'inc.qcow2.json', 'chain.json'])
    await writeFile(join(disk, name), '{}');
  await images.delete(join(disk, 'inc.qcow2'), root);
  assert.deepEqual((await readdir(disk)).sort(), ['chain.json', 'full.qcow2', 'full.qcow2.json']);
});

test('nothing outside the repository is deleted', async (t) => {
  const root = await folder(t);
  const outside = join(root, 'elsewhere.qcow2');
  await writeFile(outside, 'x');
  await chmod(outside, 0o644);
  await assert.rejects(images.delete(outside, join(root, 'repository')), PermanentFailure);
  await assert.rejects(images.delete(root, root), PermanentFailure);
  assert.deepEqual(await readdir(root), ['elsewhere.qcow2']);
});
