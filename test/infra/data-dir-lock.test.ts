import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { DataDirLocked, lockDataDir } from '#infra/data-dir-lock.ts';

const holderProgram = `
  import { lockDataDir } from ${JSON.stringify(fileURLToPath(import.meta.resolve('#infra/data-dir-lock.ts')))};
  globalThis.lock = lockDataDir(process.argv[1], 'sendense hub');
  process.stdout.write('locked\\n');
  setInterval(() => {}, 60_000);`;

/** Another process that holds the lock until it is killed. */
const startHolder = async (dir: string) => {
  const child = execa(process.execPath, ['--input-type=module', '--eval', holderProgram, dir], {
    reject: false,
    buffer: false,
  });
  await once(createInterface({ input: child.stdout }), 'line');
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL');
    await child;
  };
  return { pid: child.pid, kill };
};

describe('the lock of a data directory', () => {
  let dir = '';
  beforeEach(async () => {
    dir = join(await mkdtemp(join(tmpdir(), 'lock-')), 'data');
  });
  afterEach(() => rm(join(dir, '..'), { recursive: true, force: true }));

  test('is refused to a second process, by the name and pid of the first, and is free after a kill', async () => {
    const holder = await startHolder(dir);
    assert.throws(() => lockDataDir(dir, 'sendense hub'), {
      name: 'DataDirLocked',
      message: `The data directory ${dir} is in use by sendense hub with pid ${holder.pid}.`,
    });
    await holder.kill();
    lockDataDir(dir, 'sendense hub').release();
  });

  test('is refused to the same process too', () => {
    const lock = lockDataDir(dir, 'sendense hub');
    assert.throws(() => lockDataDir(dir, 'sendense demo'), DataDirLocked);
    // The refused attempt has opened and closed the file, which must not have cost the first its lock.
    assert.throws(() => lockDataDir(dir, 'sendense demo'), DataDirLocked);
    lock.release();
  });

  test('survives that its own process was refused it: another process still cannot have it', async () => {
    const lock = lockDataDir(dir, 'sendense hub');
    assert.throws(() => lockDataDir(dir, 'sendense hub'), DataDirLocked);
    const args = ['--input-type=module', '--eval', holderProgram, dir];
    const { exitCode, stderr } = await execa(process.execPath, args, { reject: false, timeout: 10_000 });
    assert.equal(exitCode, 1);
    assert.match(stderr, new RegExp(`in use by sendense hub with pid ${process.pid}\\.`));
    lock.release();
  });

  test('is free after its release, which may be repeated, and leaves no name behind', async () => {
    const lock = lockDataDir(dir, 'sendense hub');
    lock.release();
    lock.release();
    assert.deepEqual(await readdir(dir), ['lock.sqlite']);
    lockDataDir(dir, 'sendense node').release();
  });
});
