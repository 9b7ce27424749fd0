import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, readlink, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { execa } from 'execa';
import { z } from 'zod';
import { eventually } from '../support/eventually.ts';
import { findLeftovers, removeLeftovers } from '../support/leftovers.ts';
import { notRoot } from '../support/root.ts';

const cli = resolve(import.meta.dirname, '../../src/cli.ts');
const deadlineMs = 120_000;
const testTimeout = { timeout: 300_000 };

const Backup = z.object({
  backup_id: z.string(),
  seconds: z.number().positive(),
  bytes_transferred: z.number().int().positive(),
  verified: z.boolean(),
});

const Report = z.object({
  vm: z.string(),
  disks: z.array(z.object({ index: z.number(), capacity_bytes: z.number() })),
  full: Backup,
  incremental: Backup,
  events: z.object({ total: z.number().int(), job_streams: z.number().int() }),
  leftovers: z.array(z.string()),
  restore: z
    .object({
      mount_id: z.uuid(),
      driver: z.enum(['nbd', 'fuse']),
      seconds: z.number().positive(),
      file: z.literal('/etc/motd'),
      sha256_match: z.literal(true),
    })
    .nullable(),
  restore_skipped: z.string().optional(),
});

const Access = z.object({ url: z.string(), username: z.string(), password: z.string() });

/** A demo in a folder of its own; whatever it leaves there or runs there is found. */
const startDemo = async (t: TestContext, args: readonly string[]) => {
  const dir = await mkdtemp(join(tmpdir(), 'sdt-demo-'));
  const child = execa(process.execPath, [cli, 'demo', ...args], {
    env: { TMPDIR: dir },
    reject: false,
    stdin: 'ignore',
    timeout: deadlineMs,
  });
  const leftovers = async (): Promise<readonly string[]> =>
    (await findLeftovers({ id: dir, dir })).map(({ what }) => what);
  t.after(async () => {
    child.kill('SIGKILL');
    await child;
    await removeLeftovers({ id: dir, dir });
    await rm(dir, { recursive: true, force: true });
  });
  let told = '';
  let ended = false;
  void child.then(() => {
    ended = true;
  });
  child.stderr.on('data', (chunk: Buffer) => {
    told += chunk.toString();
  });
  const untilTold = async (pattern: RegExp): Promise<void> => {
    const deadline = performance.now() + deadlineMs;
    while (!pattern.test(told)) {
      assert.ok(!ended, `the demo ended early: ${told}`);
      assert.ok(performance.now() < deadline, `not told in time: ${pattern}, but: ${told}`);
      await delay(5);
    }
  };
  return { child, dir, leftovers, untilTold };
};

/** The process of a command which works in the demo's folder. */
const findProcess = async (dir: string, command: string): Promise<number> => {
  for (const name of (await readdir('/proc')).filter((entry) => /^\d+$/.test(entry))) {
    const words = (await readFile(`/proc/${name}/cmdline`, 'utf8').catch(() => '')).split('\0');
    const folder = await readlink(`/proc/${name}/cwd`).catch(() => '');
    if (words.includes(command) && folder.startsWith(dir)) return Number(name);
  }
  return assert.fail(`there is no process "${command}"`);
};

/** Every loop device in use, with the file behind it. */
const attachedLoops = async (): Promise<ReadonlyMap<string, string>> => {
  const names = (await readdir('/sys/block')).filter((name) => name.startsWith('loop'));
  const backing = (name: string) => readFile(`/sys/block/${name}/loop/backing_file`, 'utf8').catch(() => '');
  const devices = await Promise.all(names.map(async (name) => [name, (await backing(name)).trim()] as const));
  return new Map(devices.filter(([, file]) => file !== ''));
};

test(
  'the demo proves both backups byte by byte, says so in one JSON object, and leaves nothing',
  testTimeout,
  async (t) => {
    const { child, leftovers } = await startDemo(t, ['--json', '--exit', '--size', '256M']);
    const { stdout, stderr, exitCode } = await child;
    assert.equal(exitCode, 0, stderr);
    const report = Report.parse(JSON.parse(stdout));
    assert.deepEqual(report.leftovers, []);
    assert.deepEqual(await leftovers(), []);
    assert.deepEqual(
      report.disks.map(({ index }) => index),
      [0, 1],
    );
    assert.equal(
      report.disks.reduce((sum, { capacity_bytes }) => sum + capacity_bytes, 0),
      256 * 1024 ** 2,
    );
    assert.ok(report.full.verified && report.incremental.verified);
    assert.ok(report.incremental.bytes_transferred < report.full.bytes_transferred / 2, stdout);
    assert.notEqual(report.full.backup_id, report.incremental.backup_id);
    assert.equal(report.events.job_streams, 2);
    if (process.getuid?.() === 0) assert.ok(report.restore, report.restore_skipped);
    else assert.ok(report.restore ?? report.restore_skipped, 'it is told why nothing was mounted');
    assert.ok(report.events.total > 20, stdout);
  },
);

test('Ctrl-C in the middle of the full backup stops everything and leaves nothing', testTimeout, async (t) => {
  const { child, leftovers, untilTold } = await startDemo(t, ['--json', '--exit', '--size', '512M']);
  await untilTold(/disk \d .*transferring/);
  child.kill('SIGINT');
  const { stdout, stderr, exitCode } = await child;
  assert.equal(exitCode, 130, stderr);
  assert.equal(stdout, '');
  assert.doesNotMatch(stderr, /✔ Full backup/);
  assert.doesNotMatch(stderr, /did not stop by itself/);
  assert.deepEqual(await leftovers(), []);
});

test('Ctrl-C while backups are mounted unmounts them and leaves nothing', testTimeout, async (t) => {
  const { child, leftovers, untilTold } = await startDemo(t, ['--json', '--exit', '--size', '128M']);
  await untilTold(/… Mount both backups/);
  child.kill('SIGINT');
  const { stderr, exitCode } = await child;
  assert.equal(exitCode, 130, stderr);
  assert.doesNotMatch(stderr, /did not stop by itself/);
  assert.deepEqual(await leftovers(), []);
});

test('without --exit the demo serves, with the login it tells, until Ctrl-C', testTimeout, async (t) => {
  const { child, leftovers } = await startDemo(t, ['--json', '--size', '128M']);
  const [line] = await child.stdout[Symbol.asyncIterator]()
    .next()
    .then(({ value }) => String(value).split('\n'));
  const { url, username, password } = Access.parse(JSON.parse(line ?? ''));
  const login = await fetch(`${url}/api/v1/auth/login`, {
    method: 'POST',
    body: JSON.stringify({ username, password }),
  });
  const { session_token: token } = z.object({ session_token: z.string() }).parse(await login.json());
  const backups = await fetch(`${url}/api/v1/backups?status=completed`, {
    headers: { authorization: `Bearer ${token}` },
  });
  assert.equal(z.object({ total: z.number() }).parse(await backups.json()).total, 2);
  assert.equal((await fetch(`${url}/swagger/`)).status, 200);
  child.kill('SIGINT');
  const { exitCode, stderr } = await child;
  assert.equal(exitCode, 0, stderr);
  assert.deepEqual(await leftovers(), []);
});

test(
  'a hub that is killed in the middle of a backup ends the demo: it tells the step, and leaves nothing',
  testTimeout,
  async (t) => {
    const { child, dir, leftovers, untilTold } = await startDemo(t, ['--json', '--exit', '--size', '1G']);
    // Looked for beforehand: the backup may take less than a second.
    await untilTold(/✔ Start a hub/);
    const hub = await findProcess(dir, 'hub');
    await untilTold(/disk \d .*transferring/);
    process.kill(hub, 'SIGKILL');
    const { exitCode, stdout, stderr } = await child;
    assert.equal(exitCode, 1, stderr);
    assert.match(stderr, /The demo failed at "Full backup of both disks from one snapshot": \S/);
    assert.match(stderr, /hub: ended \(SIGKILL\)/);
    assert.match(
      z.object({ error: z.object({ step: z.string() }) }).parse(JSON.parse(stdout)).error.step,
      /^Full backup/,
    );
    assert.deepEqual(await leftovers(), []);
  },
);

test('a hub that is killed while backups are mounted leaves no mount and no loop device', {
  ...testTimeout,
  skip: notRoot,
}, async (t) => {
  const { child, dir, leftovers, untilTold } = await startDemo(t, ['--json', '--exit', '--size', '128M']);
  const before = await attachedLoops();
  await untilTold(/… Mount both backups/);
  // Every device that came is seen while it still tells what it shows.
  const ours = new Set<string>();
  for (const deadline = performance.now() + deadlineMs; ours.size === 0; await delay(5)) {
    assert.ok(performance.now() < deadline, 'nothing was mounted');
    for (const [device, backingFile] of await attachedLoops())
      if (!before.has(device) && backingFile.startsWith(dir)) ours.add(device);
  }
  process.kill(await findProcess(dir, 'hub'), 'SIGKILL');
  const { exitCode, stderr } = await child;
  assert.equal(exitCode, 1, stderr);
  assert.deepEqual(await leftovers(), []);
  // A device whose file's server is gone says "/": it is not found by its folder. Another test may have the number meanwhile.
  await eventually('every loop device is free', async () => {
    const attached = await attachedLoops();
    return [...ours].every((device) => attached.get(device) !== '/');
  });
});

test('wrong usage is told in a sentence, and nothing is started', testTimeout, async (t) => {
  for (const args of [['--size', '1M'], ['--size', 'big'], ['--loud']]) {
    const { child, leftovers } = await startDemo(t, args);
    const { exitCode, stdout, stderr } = await child;
    assert.equal(exitCode, 2);
    assert.equal(stdout, '');
    assert.match(stderr, new RegExp(args[0] ?? ''));
    assert.doesNotMatch(stderr, /\n +at /);
    assert.deepEqual(await leftovers(), []);
  }
});
