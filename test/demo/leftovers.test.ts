import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdir, mkdtemp, realpath, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { execa } from 'execa';
import { findLeftovers } from '../../src/demo/leftovers.ts';

const makeFolder = async (t: TestContext): Promise<string> => {
  const folder = await realpath(await mkdtemp(join(tmpdir(), 'demo-left-')));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
};

const listening = "require('net').createServer().listen(0,'127.0.0.1',function(){console.log(this.address().port)})";

test('a process that works in the folder is found, with the port it holds', async (t) => {
  const folder = await makeFolder(t);
  const child = execa(process.execPath, ['-e', listening], { cwd: folder, reject: false });
  t.after(async () => {
    child.kill('SIGKILL');
    await child;
  });
  const [line] = await once(child.stdout, 'data');
  const port = Number(line);
  const found = await findLeftovers({ folder, ports: [port], running: false });
  assert.equal(found.length, 2, found.join());
  assert.match(found[0] ?? '', new RegExp(`^process ${child.pid}: `));
  assert.equal(found[1], `port ${port}`);
  // While hub and node serve, a program that moves no disks' bytes is no leftover.
  assert.deepEqual(await findLeftovers({ folder, ports: [], running: true }), []);
});

test('a half-written file is found wherever it lies; what ends in time is not told', async (t) => {
  const folder = await makeFolder(t);
  await mkdir(join(folder, 'repository/disk-0'), { recursive: true });
  const partial = join(folder, 'repository/disk-0/image.qcow2.partial');
  await writeFile(partial, '');
  assert.deepEqual(await findLeftovers({ folder, ports: [], running: false }), [`file ${partial}`]);
  const looking = findLeftovers({ folder, ports: [], running: false });
  await rm(partial);
  assert.deepEqual(await looking, []);
});
