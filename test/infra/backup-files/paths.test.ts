import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { lstat, mkdir, readdir, readlink, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { promisify } from 'node:util';
import fc from 'fast-check';
import { DomainError, type ErrorCode } from '#domain/errors.ts';
import { temporaryFolder } from '../../support/mounted-folders.ts';
import { contentAt, never, pathsAt, trees, withOpened } from './support.ts';

const run = promisify(execFile);
const secret = 'of the hub itself';

const refused = (code: ErrorCode) => (error: unknown) => error instanceof DomainError && error.code === code;

/** A mount with a secret beside it. */
const mountBesideSecret = async (t: TestContext): Promise<string> => {
  const folder = await temporaryFolder(t);
  const root = join(folder, 'mount');
  await mkdir(root);
  await writeFile(join(folder, 'secret'), secret);
  await mkdir(join(folder, 'secrets'));
  await writeFile(join(folder, 'secrets', 'file'), secret);
  return root;
};

const descriptors = async (): Promise<readonly string[]> => {
  const numbers = await readdir('/proc/self/fd');
  const targets = await Promise.all(numbers.map((number) => readlink(`/proc/self/fd/${number}`).catch(() => '')));
  return targets.filter((target) => target.includes('sendense-files-'));
};

test('links that stay inside are followed, with all the steps upwards in them', async (t) => {
  const root = await mountBesideSecret(t);
  await mkdir(join(root, 'a/b/c'), { recursive: true });
  await writeFile(join(root, 'a/file'), 'inside');
  await symlink('../../file', join(root, 'a/b/c/up'));
  await symlink('b/./c//up', join(root, 'a/far'));
  await symlink('c', join(root, 'a/b/folder'));
  assert.equal((await contentAt(root, 'a/far')).toString(), 'inside');
  assert.equal((await contentAt(root, 'a/b/folder/up')).toString(), 'inside');
  assert.deepEqual(await pathsAt(root, 'a/b/folder'), ['up']);
  assert.deepEqual(await descriptors(), []);
});

test('links that lead out are refused, whatever way they take', async (t) => {
  const root = await mountBesideSecret(t);
  await mkdir(join(root, 'a'));
  const targets = [
    '/etc/passwd',
    '/',
    '..',
    '../secret',
    '../../secret',
    'a/../../secret',
    '../mount/../secrets',
    '//',
  ];
  for (const [index, target] of targets.entries()) await symlink(target, join(root, `link-${index}`));
  await symlink('link-1', join(root, 'chain'));
  for (const name of await readdir(root)) {
    if (name === 'a') continue;
    await assert.rejects(contentAt(root, name), refused('path-outside-mount'), name);
    await assert.rejects(contentAt(root, `${name}/file`), refused('path-outside-mount'), name);
    assert.equal(await withOpened(root, name, async ({ facts }) => facts.kind, false), 'symlink');
  }
  assert.deepEqual(await descriptors(), []);
});

test('links that lead round in a circle come to an end', async (t) => {
  const root = await mountBesideSecret(t);
  await mkdir(join(root, 'a'));
  await symlink('.', join(root, 'self'));
  await symlink('two', join(root, 'one'));
  await symlink('one', join(root, 'two'));
  await symlink('../a/loop', join(root, 'a/loop'));
  await writeFile(join(root, 'file'), 'inside');
  assert.equal((await contentAt(root, 'self/self/self/file')).toString(), 'inside');
  await assert.rejects(contentAt(root, 'one'), refused('file-not-found'));
  await assert.rejects(contentAt(root, 'a/loop/x'), refused('file-not-found'));
  assert.deepEqual(await pathsAt(root, '', { recursive: true }), ['a', 'a/loop', 'file', 'one', 'self', 'two']);
});

test('a step upwards in a path is refused by the tree itself too', async (t) => {
  const root = await mountBesideSecret(t);
  await mkdir(join(root, 'a'));
  for (const path of [['..', 'secret'], ['a', '..', '..', 'secret'], ['a/../../secret'], ['..']])
    await assert.rejects(trees.open(root, path, { followLast: true }), refused('path-outside-mount'), path.join(' '));
});

test('another filesystem that is mounted inside is shown and not entered', async (t) => {
  const root = await mountBesideSecret(t);
  const inner = join(root, 'inner');
  await mkdir(inner);
  await run('mount', ['-t', 'tmpfs', 'none', inner]);
  try {
    await writeFile(join(inner, 'file'), secret);
    await assert.rejects(contentAt(root, 'inner/file'), refused('path-outside-mount'));
    assert.deepEqual(await pathsAt(root, '', { recursive: true }), ['inner']);
  } finally {
    await run('umount', [inner]);
  }
});

test('devices, FIFOs and sockets are shown and never opened', { timeout: 10_000 }, async (t) => {
  const root = await mountBesideSecret(t);
  await run('mkfifo', [join(root, 'fifo')]);
  await run('mknod', [join(root, 'null'), 'c', '1', '3']);
  for (const name of ['fifo', 'null']) {
    assert.equal(await withOpened(root, name, async ({ facts }) => facts.kind), 'other');
    await assert.rejects(contentAt(root, name), refused('not-a-file'), name);
    await assert.rejects(contentAt(root, `${name}/x`), refused('file-not-found'), name);
  }
  const archive = await trees.archive([{ prefix: '', root, path: [] }], 'tar.gz', never);
  for await (const _ of archive.body) assert.ok(true);
  assert.deepEqual(archive.counts(), { files: 0, unreadable: 0 });
  await archive.close();
});

// A name of the tree: few of them, so that links find each other.
const name = fc.constantFrom('a', 'b', 'c', 'd');
const target = fc
  .tuple(
    fc.boolean(),
    fc.array(fc.oneof({ weight: 2, arbitrary: fc.constant('..') }, name, fc.constant('.')), { maxLength: 6 }),
  )
  .map(([absolute, steps]) => `${absolute ? '/' : ''}${steps.join('/')}` || '.');
const thing = fc.oneof(
  fc.record({ kind: fc.constant('link' as const), at: fc.array(name, { minLength: 1, maxLength: 3 }), target }),
  fc.record({ kind: fc.constant('file' as const), at: fc.array(name, { minLength: 1, maxLength: 3 }), target }),
);

/** Below real folders only: the kernel follows links, and the test must not write elsewhere itself. */
const make = async (root: string, at: readonly string[], linkTarget: string | undefined): Promise<void> => {
  let folder = root;
  for (const step of at.slice(0, -1)) {
    folder = join(folder, step);
    await mkdir(folder).catch(() => undefined);
    if (!(await lstat(folder)).isDirectory()) return;
  }
  const place = join(folder, at.at(-1) ?? '');
  const made = linkTarget === undefined ? writeFile(place, 'inside', { flag: 'wx' }) : symlink(linkTarget, place);
  await made.catch(() => undefined); // the name is taken
};

test('no path through any tree of links reaches what lies beside the mount', async (t) => {
  const root = await mountBesideSecret(t);
  const outside = join(root, '..');
  for (const letter of ['a', 'b', 'c', 'd']) await writeFile(join(outside, letter), secret);
  await fc.assert(
    fc.asyncProperty(
      fc.array(thing, { maxLength: 12 }),
      fc.array(name, { minLength: 1, maxLength: 4 }),
      async (things, path) => {
        await rm(root, { recursive: true });
        await mkdir(root);
        for (const { kind, at, target } of things) await make(root, at, kind === 'link' ? target : undefined);
        const content = await contentAt(root, path.join('/')).catch((error: unknown) => {
          assert.ok(error instanceof DomainError, String(error));
          return Buffer.from('');
        });
        assert.ok(!content.includes(secret), path.join('/'));
      },
    ),
    { numRuns: 150 },
  );
  assert.deepEqual(await descriptors(), []);
});

test('folders that turn into links while they are walked lead nowhere', async (t) => {
  const root = await mountBesideSecret(t);
  await mkdir(join(root, 'deep/folder/below'), { recursive: true });
  await writeFile(join(root, 'deep/folder/below/file'), 'inside');
  await writeFile(join(root, 'deep/folder/file'), 'inside');
  await symlink('../../secrets', join(root, 'deep/trap'));
  await symlink('../../secret', join(root, 'deep/folder/trap'));
  let running = true;
  const swap = async (): Promise<void> => {
    const exchange = async (a: string, b: string) => {
      await rename(a, `${a}.x`);
      await rename(b, a);
      await rename(`${a}.x`, b);
    };
    while (running) {
      await exchange(join(root, 'deep/folder'), join(root, 'deep/trap'));
      for (const folder of ['folder', 'trap'])
        await exchange(join(root, `deep/${folder}/file`), join(root, `deep/${folder}/trap`)).catch(() => undefined);
    }
  };
  // The outside has files of these names as well: whoever is led there finds them.
  await writeFile(join(root, '../secrets/trap'), secret);
  const swapping = swap();
  const seen = { inside: 0, refused: 0 };
  const refuse = (error: unknown): Buffer => {
    assert.ok(error instanceof DomainError, String(error));
    seen.refused += 1;
    return Buffer.from('');
  };
  try {
    for (let round = 0; round < 300; round += 1) {
      const contents = await Promise.all(
        ['deep/folder/file', 'deep/trap/file', 'deep/folder/below/file'].map((path) =>
          contentAt(root, path).catch(refuse),
        ),
      );
      for (const content of contents) assert.ok(!content.includes(secret));
      seen.inside += contents.filter((content) => content.includes('inside')).length;
      const listed = await pathsAt(root, '', { recursive: true });
      assert.ok(listed.every((path) => path.startsWith('deep')));
      if (round % 10 > 0) continue;
      const archive = await trees.archive([{ prefix: '', root, path: [] }], 'zip', never);
      for await (const piece of archive.body) assert.ok(!Buffer.from(piece).includes(secret));
      await archive.close();
    }
  } finally {
    running = false;
    await swapping.catch(() => undefined);
  }
  assert.ok(seen.inside > 0 && seen.refused > 0, JSON.stringify(seen));
  assert.deepEqual(await descriptors(), []);
});
