import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { execa } from 'execa';
import { endOrphans } from '#sna/orphans.ts';
import { until } from './until.ts';

test('what a killed node left in its data folder is ended, the same program elsewhere is not', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'sna-orphans-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const disk = join(folder, 'disk.raw');
  await writeFile(disk, Buffer.alloc(4096));
  const dataDir = join(folder, 'node');
  await mkdir(dataDir);
  const serve = async (name: string, ...parameters: string[]) => {
    const pidFile = join(folder, `${name}.pid`);
    const server = execa('nbdkit', ['-f', '-U', join(folder, `${name}.sock`), '-P', pidFile, ...parameters], {
      reject: false,
    });
    await until(() => existsSync(pidFile));
    return { server };
  };
  const { server: stranger } = await serve('stranger', 'file', disk);
  const { server: orphan } = await serve('orphan', '--filter=log', 'file', disk, `logfile=${dataDir}/log`);
  assert.deepEqual(await endOrphans(dataDir), [orphan.pid]);
  assert.equal((await orphan).signal, 'SIGKILL');
  assert.deepEqual(await endOrphans(dataDir), []);
  stranger.kill('SIGTERM'); // it answers only if it still runs
  assert.equal((await stranger).exitCode, 0);
});
