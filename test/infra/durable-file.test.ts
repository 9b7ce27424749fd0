import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { makeFolder, writeComplete } from '#infra/durable-file.ts';

const folder = async (t: TestContext): Promise<string> => {
  const root = await mkdtemp(join(tmpdir(), 'sendense-durable-'));
  t.after(() => rm(root, { recursive: true, force: true }));
  return root;
};

test('many at once make the same folders without disturbing each other', async (t) => {
  const root = await folder(t);
  for (let round = 0; round < 20; round += 1) {
    const paths = Array.from({ length: 8 }, (_, disk) => join(root, `round-${round}`, 'ctx', `disk-${disk}`));
    await Promise.all(paths.map(makeFolder));
    for (const path of paths) assert.ok((await stat(path)).isDirectory());
  }
});

test('a folder that is there is fine, a file in its place is not', async (t) => {
  const root = await folder(t);
  await makeFolder(root);
  await writeFile(join(root, 'file'), '');
  await assert.rejects(makeFolder(join(root, 'file')), /EEXIST/);
  await assert.rejects(makeFolder(join(root, 'file', 'below', 'it')), /ENOTDIR/);
});

test('a place where nothing can be made is an error and not an endless loop', async () => {
  await assert.rejects(makeFolder('/proc/sendense/repository'), /ENOENT/);
});

test('a file whose content cannot be made leaves the old one as it is', async (t) => {
  const path = join(await folder(t), 'chain.json');
  await writeFile(path, 'old');
  const failing = writeComplete(path, async (file) => {
    await file.write('half of the n');
    throw new Error('power cut');
  });
  await assert.rejects(failing, /power cut/);
  assert.equal(await readFile(path, 'utf8'), 'old');
  assert.deepEqual(await readdir(join(path, '..')), ['chain.json']);
});
