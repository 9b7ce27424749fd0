import assert from 'node:assert/strict';
import { resolve } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { execa } from 'execa';
import { ownEnvironment } from '../support/program.ts';
import { World } from '../support/world.ts';

const pauseMs = 50;
const cli = resolve(import.meta.dirname, '../../src/cli.ts');

describe('read models of a hub with a history', () => {
  let world: World;
  before(async () => {
    world = await World.open();
    await world.backUp('full');
    await world.backUp('incremental');
    const { backup_id: failed } = await world.start('full');
    const body = { status: 'failed', error: 'no space left', bytes_transferred: 7, progress_percent: 3 };
    assert.equal((await world.call('POST', `/telemetry/backup/${failed}`, { body })).status, 200);
    await world.ended(failed);
    const { backup_id: removed } = await world.backUp('full');
    assert.equal((await world.call('DELETE', `/backups/${removed}`)).status, 200);
  });
  after(() => world.close());

  const projections = async (...args: readonly string[]) => {
    const env = { ...ownEnvironment(), SENDENSE_DATA_DIR: world.hubData, SENDENSE_AUTH: 'off' };
    const options = { cwd: world.folder, env, extendEnv: false, reject: false, timeout: 120_000 } as const;
    const { stdout, stderr, exitCode } = await execa(process.execPath, [cli, 'projections', ...args], options);
    return { stdout, stderr, exitCode };
  };

  const paths = ['/backups', '/vm-contexts', '/repositories', '/vmware-credentials', '/admin/projections'];

  /** A client that asks all the time: anything but 200, or a list that has shrunk, is told. */
  const askAllTheTime = (expected: number) => {
    const stop = new AbortController();
    const bad: string[] = [];
    let asked = 0;
    const ask = async (path: string) => {
      const { status, body } = await world.call<{ backups?: readonly unknown[] }>('GET', path);
      asked += 1;
      if (status !== 200) bad.push(`${path}: ${status} ${JSON.stringify(body)}`);
      if (path === '/backups' && body.backups?.length !== expected) bad.push(`${body.backups?.length} backups`);
    };
    const askInTurn = async () => {
      while (!stop.signal.aborted) {
        for (const path of paths) await ask(path);
        // Leaves the rebuild something of the machine.
        await delay(pauseMs);
      }
    };
    const asking = askInTurn();
    return async () => {
      stop.abort();
      await asking;
      return { bad, asked };
    };
  };

  test('are rebuilt while it serves, and nobody notices', async () => {
    const before = await world.list();
    const stopAsking = askAllTheTime(before.length);
    for (const name of [[], ['backups.v1']]) {
      const { exitCode, stdout, stderr } = await projections('rebuild', ...name);
      assert.equal(exitCode, 0, stderr);
      assert.match(stdout, /completed/);
    }
    const { bad, asked } = await stopAsking();
    assert.deepEqual(bad, []);
    assert.ok(asked > 20, `${asked} answers`);
    assert.deepEqual(await world.list(), before);
    await world.assertIdentical(await world.backUp('full'), await world.keep());
  });

  test('are row for row what the log gives, though the telemetry of jobs that ended is gone', async () => {
    const { exitCode, stdout, stderr } = await projections('check', '--json');
    const checked = JSON.parse(stdout) as { identical: boolean; tables: readonly { table: string; rows: number }[] };
    assert.deepEqual([exitCode, checked.identical], [0, true], stdout + stderr);
    const rows = new Map(checked.tables.map(({ table, rows: count }) => [table, count]));
    assert.ok((rows.get('backup_jobs') ?? 0) >= 4 && (rows.get('backup_disks') ?? 0) >= 8, stdout);
  });

  test('tell how they are, and refuse what there is not', async () => {
    const [{ stdout, exitCode }, unknown, parked] = await Promise.all([
      projections('status'),
      projections('rebuild', 'nobody.v1'),
      projections('parked'),
    ]);
    assert.equal(exitCode, 0, stdout);
    assert.match(stdout, /✔ backups\.v1 .*backup_jobs/);
    assert.match(stdout, /rebuild of .* completed/);
    assert.deepEqual([unknown.exitCode, unknown.stdout], [1, '']);
    assert.match(unknown.stderr, /there is no read model "nobody\.v1"/);
    assert.equal(parked.stdout, 'nothing is parked');
  });

  test('are checked and rebuilt without the hub as well', async () => {
    await world.stopHub();
    const checked = await projections('check');
    assert.equal(checked.exitCode, 0, checked.stdout + checked.stderr);
    assert.match(checked.stdout, /identical/);
    assert.equal((await projections('rebuild')).exitCode, 0);
    await world.startHub();
    assert.ok((await world.list()).length >= 4);
  });
});
