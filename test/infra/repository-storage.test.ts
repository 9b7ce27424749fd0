import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, stat, statfs, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { execa } from 'execa';
import { createRepositoryStorage } from '#infra/repository-storage.ts';
import { PermanentFailure } from '#process-managers/ports.ts';

const never = new AbortController().signal;
const storage = createRepositoryStorage();

const folder = async (t: TestContext): Promise<string> => {
  const root = await mkdtemp(join(tmpdir(), 'sendense-repository-'));
  t.after(() => rm(root, { recursive: true, force: true }));
  return root;
};

const failsWith = (words: RegExp) => (error: unknown) => {
  assert.ok(error instanceof PermanentFailure, String(error));
  assert.match(error.message, words);
  return true;
};

test('a test makes the folder, measures it and leaves nothing in it', async (t) => {
  const path = join(await folder(t), 'backup', 'repository');
  const { totalBytes, usedBytes, availableBytes, writable } = await storage.test(path, never);
  const { bsize, blocks } = await statfs(path);
  assert.equal(totalBytes, bsize * blocks);
  assert.equal(usedBytes, totalBytes - availableBytes);
  assert.ok(availableBytes > 0 && availableBytes <= totalBytes);
  assert.equal(writable, true);
  assert.deepEqual(await readdir(path), []);
  assert.equal((await stat(path)).mode & 0o777, 0o755);
});

test('a measurement changes nothing and fails for a missing folder', async (t) => {
  const root = await folder(t);
  const { totalBytes, writable } = await storage.measure(root, never);
  assert.ok(totalBytes > 0 && writable);
  await assert.rejects(storage.measure(join(root, 'missing'), never), failsWith(/missing.*No such file/));
  assert.deepEqual(await readdir(root), []);
});

test('places that cannot be a repository are refused with a sentence', async (t) => {
  const root = await folder(t);
  await writeFile(join(root, 'file'), '');
  await symlink('/nowhere', join(root, 'dangling'));
  await assert.rejects(storage.test(join(root, 'file'), never), failsWith(/a file is where a folder should be/));
  await assert.rejects(storage.test(join(root, 'file', 'below'), never), failsWith(/not a folder/));
  await assert.rejects(storage.test(join(root, 'dangling'), never), failsWith(/no such file or folder/));
  await assert.rejects(storage.test('/proc/sendense/repository', never), failsWith(/no such file or folder/));
  await assert.rejects(storage.test('relative/path', never), failsWith(/not absolute/));
});

const needsRoot = process.getuid?.() === 0 ? false : 'needs root to mount small file systems';
const mounted = async (path: string, options: string, check: () => Promise<void>): Promise<void> => {
  await mkdir(path, { recursive: true });
  await execa('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', path]);
  try {
    await check();
  } finally {
    await execa('umount', [path]);
  }
};

test('a read-only and a full file system are refused, and say so', { skip: needsRoot }, async (t) => {
  const path = join(await folder(t), 'mounted');
  await mounted(path, 'ro,size=1m', async () => {
    await assert.rejects(storage.test(path, never), failsWith(/read-only/));
    await assert.rejects(storage.test(join(path, 'new'), never), failsWith(/read-only/));
    await assert.rejects(storage.assertWritable(path), failsWith(/read-only/));
    assert.equal((await storage.measure(path, never)).writable, false);
  });
  await mounted(path, 'size=16k', async () => {
    await writeFile(join(path, 'filler'), Buffer.alloc(16 * 1024));
    await assert.rejects(storage.test(path, never), failsWith(/no space left/));
    assert.deepEqual(await readdir(path), ['filler']);
  });
});

test('whoever waits for a measurement can give up', async (t) => {
  const root = await folder(t);
  const abort = new AbortController();
  const measuring = storage.measure(root, abort.signal);
  abort.abort(new Error('the client has gone'));
  await assert.rejects(measuring, /the client has gone/);
});

test('links that lead out of a repository are not followed into it', async (t) => {
  const root = await folder(t);
  const repository = join(root, 'repository');
  await mkdir(join(repository, 'ctx'), { recursive: true });
  await mkdir(join(root, 'repository-2'));
  for (const path of ['repository/ctx/in.qcow2', 'repository-2/out.qcow2']) await writeFile(join(root, path), '');
  await symlink(join(root, 'repository-2', 'out.qcow2'), join(repository, 'link-out.qcow2'));
  await symlink('ctx/in.qcow2', join(repository, 'link-in.qcow2'));
  await symlink(repository, join(root, 'linked-repository'));
  const real = join(repository, 'ctx', 'in.qcow2');
  assert.equal(await storage.resolveInside(repository, join(repository, 'link-in.qcow2')), real);
  assert.equal(await storage.resolveInside(join(root, 'linked-repository'), real), real);
  assert.equal(await storage.realPath(join(root, 'linked-repository')), repository);
  for (const path of ['repository/link-out.qcow2', 'repository-2/out.qcow2', 'repository'])
    await assert.rejects(storage.resolveInside(repository, join(root, path)), failsWith(/not inside/));
  await assert.rejects(storage.resolveInside(repository, join(repository, 'missing')), failsWith(/no such file/));
});

test('a repository is writable, and holds images that are files', async (t) => {
  const root = await folder(t);
  await writeFile(join(root, 'full.qcow2'), '');
  await storage.assertWritable(root);
  await assert.rejects(storage.assertWritable(join(root, 'full.qcow2')), failsWith(/not a folder/));
  await assert.rejects(storage.assertWritable(join(root, 'missing')), failsWith(/no such file/));
  assert.equal(await storage.imageExists(join(root, 'full.qcow2')), true);
  assert.equal(await storage.imageExists(root), false);
  assert.equal(await storage.imageExists(join(root, 'missing')), false);
});
