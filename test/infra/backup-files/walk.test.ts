import assert from 'node:assert/strict';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { Directory } from '#infra/backup-files/directory.ts';
import { maxDepth } from '#infra/backup-files/walk.ts';
import { temporaryFolder } from '../../support/mounted-folders.ts';
import { archiveOf, listAt, never, pathsAt, trees, withOpened } from './support.ts';

test('the order is that of the bytes, a folder before what is in it', async (t) => {
  const root = await temporaryFolder(t);
  await mkdir(join(root, 'b'));
  for (const name of ['b.txt', 'B', 'é', 'b/z', 'b/Z', '10', '9']) await writeFile(join(root, name), '');
  assert.deepEqual(await pathsAt(root, '/', { recursive: true }), ['10', '9', 'B', 'b', 'b/Z', 'b/z', 'b.txt', 'é']);
  assert.deepEqual(await pathsAt(root, '/'), ['10', '9', 'B', 'b', 'b.txt', 'é']);
});

test('a list goes on behind any entry, and behind one that is gone', async (t) => {
  const root = await temporaryFolder(t);
  for (const folder of ['a', 'a/b', 'a/b/c', 'b', 'c/d']) await mkdir(join(root, folder), { recursive: true });
  for (const name of ['a-file', 'a/1', 'a/b/2', 'a/b/c/3', 'a/c', 'c/d/4', 'd']) await writeFile(join(root, name), '');
  for (const recursive of [true, false]) {
    const whole = await pathsAt(root, '/', { recursive });
    for (const [index, after] of whole.entries())
      assert.deepEqual(await pathsAt(root, '/', { recursive, after }), whole.slice(index + 1), after);
  }
  const whole = await pathsAt(root, '/', { recursive: true });
  const names = fc.constantFrom('a', 'b', 'c', 'aa', 'a/bb', 'a/b/c/2', 'zz', 'a/0', 'c/d/9', 'a-', 'b/x/y');
  const steps = (path: string) => path.split('/');
  const isBehind = (path: string, after: string): boolean => {
    const [a, b] = [steps(path), steps(after)];
    for (const [index, step] of a.entries()) {
      const other = b[index];
      if (other === undefined) return true;
      if (step !== other) return step > other;
    }
    return false;
  };
  await fc.assert(
    fc.asyncProperty(names, async (after) => {
      assert.deepEqual(
        await pathsAt(root, '/', { recursive: true, after }),
        whole.filter((path) => isBehind(path, after)),
      );
    }),
    { numRuns: 40 },
  );
});

test('folders nested deeper than anybody nests them end the walk there and fail nothing', async (t) => {
  const root = await temporaryFolder(t);
  let directory = await Directory.openRoot(root);
  const depth = maxDepth + 20;
  for (let level = 0; level < depth; level += 1) {
    await mkdir(`/proc/self/fd/${directory.handle.fd}/deep`);
    const next = await directory.enter('deep');
    await directory.release();
    directory = next;
  }
  await directory.release();
  assert.equal((await pathsAt(root, '/', { recursive: true })).length, maxDepth);
  const archive = await trees.archive([{ prefix: '', root, path: [] }], 'tar.gz', never);
  for await (const _ of archive.body) assert.ok(true);
  assert.equal(archive.counts().unreadable, 1);
  await archive.close();
  // Asked for by its path it is there all the same.
  assert.equal(
    await withOpened(root, Array(depth).fill('deep').join('/'), async ({ facts }) => facts.kind),
    'directory',
  );
});

test('names as long as names can be, and with anything in them, are listed and found again', async (t) => {
  const root = await temporaryFolder(t);
  const names = ['x'.repeat(255), 'new\nline', '"quoted" \'name\'', '\\..\\..', ' ', '\x07', '%2e%2e', '-rf', 'a;b|c'];
  const bytes = [
    Buffer.from([0xff, 0xfe]),
    Buffer.from('Gr\xf6\xdfe', 'latin1'),
    ...names.map((name) => Buffer.from(name)),
  ];
  for (const name of bytes) await writeFile(Buffer.concat([Buffer.from(`${root}/`), name]), name);
  const listed = await listAt(root, '/');
  assert.equal(listed.length, bytes.length);
  for (const { path } of listed) assert.equal(await withOpened(root, path, async ({ facts }) => facts.kind), 'file');
  await archiveOf(root, 'zip');
});

test('a link tells what it holds, whatever that is', async (t) => {
  const root = await temporaryFolder(t);
  await symlink('/etc/passwd', join(root, 'absolute'));
  await symlink('nowhere', join(root, 'broken'));
  const found = await listAt(root, '/');
  assert.deepEqual(
    found.map(({ path, kind, linkTarget }) => [path, kind, linkTarget]),
    [
      ['absolute', 'symlink', '/etc/passwd'],
      ['broken', 'symlink', 'nowhere'],
    ],
  );
});
