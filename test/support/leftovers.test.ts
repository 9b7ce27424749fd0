import assert from 'node:assert/strict';
import { mkdtemp, rm, rmdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { execa } from 'execa';
import { findLeftovers, removeLeftovers, runVariable } from './leftovers.ts';

const isRoot = process.getuid?.() === 0;

describe('what a test run leaves behind', () => {
  let run = { id: '', dir: '' };
  beforeEach(async () => {
    const dir = await mkdtemp(join(tmpdir(), 'left-'));
    run = { id: dir, dir };
  });
  afterEach(() => rm(run.dir, { recursive: true, force: true }));

  const whats = async (): Promise<readonly string[]> => (await findLeftovers(run)).map(({ what }) => what);

  test('is nothing after a clean run', async () => assert.deepEqual(await whats(), []));

  test('is a process that inherited its mark, names its folder, or works in it', async () => {
    const options = { reject: false, stdio: 'ignore' } as const;
    const children = [
      execa('sleep', ['61'], { ...options, env: { [runVariable]: run.id } }),
      execa('tail', ['--follow', '--retry', join(run.dir, 'log')], options),
      execa('sleep', ['62'], { ...options, cwd: run.dir }),
    ];
    const unmarked = execa('sleep', ['63'], { ...options, env: { [runVariable]: `${run.id}-other` } });
    const found = await whats();
    assert.deepEqual(
      found.map((what) => what.split(':')[0]).sort(),
      children.map(({ pid }) => `process ${pid}`).sort(),
    );
    await removeLeftovers(run);
    await Promise.all(children);
    assert.deepEqual(await whats(), []);
    assert.equal(unmarked.kill('SIGKILL'), true);
    await unmarked;
  });

  test('is a file, a mount and a loop device, which are removed in an order that harms nothing', {
    skip: !isRoot,
  }, async () => {
    const mountPoint = await mkdtemp(join(run.dir, 'mount with space-'));
    const image = join(run.dir, 'image');
    await writeFile(image, Buffer.alloc(1024 ** 2));
    await execa('mount', ['-t', 'tmpfs', 'none', mountPoint]);
    const { stdout: device } = await execa('losetup', ['--find', '--show', image]);
    assert.deepEqual((await whats()).slice().sort(), [
      `file or folder ${image}`,
      `file or folder ${mountPoint}`,
      `loop device ${device.replace('/dev/', '')} on ${image}`,
      `mount ${mountPoint}`,
    ]);
    await removeLeftovers(run);
    assert.deepEqual(await whats(), []);
    await rmdir(run.dir);
  });
});
