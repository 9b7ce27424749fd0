import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { createSideFiles } from '#infra/side-files.ts';

const folder = async (t: TestContext): Promise<string> => {
  const root = await mkdtemp(join(tmpdir(), 'sendense-side-'));
  t.after(() => rm(root, { recursive: true, force: true }));
  return root;
};

test('a side file is JSON that people can read, alone in its folder, and may be replaced', async (t) => {
  const root = await folder(t);
  const path = join(root, 'full.qcow2.json');
  await writeFile(`${path}.partial`, 'what a crash left');
  await createSideFiles().write(path, { backup_id: 'old' });
  await createSideFiles().write(path, { backup_id: 'new', size_bytes: 1 });
  assert.equal(await readFile(path, 'utf8'), '{\n  "backup_id": "new",\n  "size_bytes": 1\n}\n');
  assert.deepEqual(await readdir(root), ['full.qcow2.json']);
});

test('a side file that cannot take its place leaves nothing', async (t) => {
  const root = await folder(t);
  await mkdir(join(root, 'chain.json'));
  await assert.rejects(createSideFiles().write(join(root, 'chain.json'), {}));
  assert.deepEqual(await readdir(root), ['chain.json']);
});
