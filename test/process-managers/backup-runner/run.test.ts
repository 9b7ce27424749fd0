import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { load } from '#commands/handle.ts';
import { exportIdFor } from '#domain/backup/ids.ts';
import { nbdExportDecider } from '#domain/nbd-export/nbd-export.ts';
import { streamOf } from '#domain/streams.ts';
import { type RunnerOptions, runBackups } from '#process-managers/backup-runner/run.ts';
import { type BackupWorld, context, createReadyWorld } from '../../support/backup-world.ts';
import { eventually } from '../../support/eventually.ts';

/** Waits until a check passes. */
const shows = (what: string, check: () => void | Promise<void>) =>
  eventually(
    what,
    async () => {
      await check();
      return true;
    },
    10_000,
  );

/** A runner over the world's fakes, which ends with the test. */
const run = (t: TestContext, world: BackupWorld, openJobs: readonly string[], over: Partial<RunnerOptions> = {}) => {
  const stop = new AbortController();
  const problems: string[] = [];
  const runner = runBackups(
    {
      deps: world.deps,
      feed: world.store.feed,
      openJobs: async () => openJobs,
      parallelJobs: 4,
      onProblem: ({ what }) => problems.push(what),
      ...over,
    },
    stop.signal,
  );
  t.after(async () => {
    stop.abort();
    await runner.done;
  });
  return { runner, problems };
};

const until = (
  world: BackupWorld,
  backupId: string,
  what: string,
  is: (job: Awaited<ReturnType<BackupWorld['jobOf']>>) => boolean,
) => shows(what, async () => assert.ok(is(await world.jobOf(backupId))));

describe('the runner of backups', () => {
  test('takes a new job as soon as it is in the log, and ends it', async (t) => {
    const world = await createReadyWorld();
    const { runner } = run(t, world, []);
    await shows('it runs', () => assert.equal(runner.status().running, true));
    const backupId = await world.start();
    await until(world, backupId, 'the client runs', ({ transfer }) => transfer === 'accepted');
    await world.copyAll(backupId);
    await until(world, backupId, 'it is closed', ({ closed }) => closed);
    await shows('it has no open job', () => assert.equal(runner.status().openJobs, 0));
  });

  test('resumes the jobs that were open when it starts', async (t) => {
    const world = await createReadyWorld();
    const backupId = await world.start();
    run(t, world, [backupId]);
    await until(world, backupId, 'the client runs', ({ transfer }) => transfer === 'accepted');
  });

  test('fails a job at once when its export dies', async (t) => {
    const world = await createReadyWorld();
    const { runner } = run(t, world, []);
    await shows('it runs', () => assert.equal(runner.status().running, true));
    const backupId = await world.start();
    await until(world, backupId, 'the client runs', ({ transfer }) => transfer === 'accepted');
    world.exporter.kill(exportIdFor(backupId, 1));
    await until(world, backupId, 'it is closed', ({ closed }) => closed);
    assert.equal((await world.jobOf(backupId)).failure?.kind, 'export');
    assert.deepEqual([world.exporter.running.size, world.images.files.size], [0, 0]);
  });

  test('fails a job whose export ended while no hub was there', async (t) => {
    const world = await createReadyWorld();
    const backupId = await world.start();
    await world.settle(backupId);
    world.exporter.running.delete(exportIdFor(backupId, 0));
    run(t, world, [backupId]);
    await until(world, backupId, 'it is closed', ({ closed }) => closed);
    assert.match((await world.jobOf(backupId)).failure?.reason ?? '', /gone when the hub started/);
  });

  test('leaves it to the stop how an export ended whose data was all in', async (t) => {
    const world = await createReadyWorld();
    const backupId = await world.start();
    await world.settle(backupId);
    await world.copyAll(backupId);
    const exporter = { ...world.exporter, list: async () => [] };
    run(t, world, [backupId], { deps: { ...world.deps, exporter } });
    await until(world, backupId, 'it is closed', ({ closed }) => closed);
    assert.equal((await world.jobOf(backupId)).status, 'completed');
  });

  test('stops exports whose job is over or was never recorded, and no others', async (t) => {
    const world = await createReadyWorld();
    const over = await world.backUp();
    const backupId = await world.start();
    await world.settle(backupId);
    const stray = (exportId: string, port: number) =>
      world.exporter.start(
        { exportId, exportName: 'x', imagePath: '/x', port, readOnly: false, sharedConnections: 10 },
        new AbortController().signal,
      );
    await stray(exportIdFor(over, 0), 10150);
    await stray('backup-unknown-17-disk0', 10151);
    await stray('manual-10152-x', 10152);
    const { runner } = run(t, world, [backupId]);
    await shows('it runs', () => assert.equal(runner.status().running, true));
    const kept = [exportIdFor(backupId, 0), exportIdFor(backupId, 1), 'manual-10152-x'];
    assert.deepEqual([...world.exporter.running.keys()], kept);
  });

  test('records the death of an export that was started by hand, and frees its port', async (t) => {
    const world = await createReadyWorld();
    const { runner } = run(t, world, []);
    await shows('it runs', () => assert.equal(runner.status().running, true));
    const exportId = 'manual-10100-x';
    const request = { exportId, exportName: 'x', imagePath: '/x', port: 10100, readOnly: true, sharedConnections: 10 };
    const { pid } = await world.exporter.start(request, new AbortController().signal);
    const { events } = { events: [{ type: 'NbdExportStarted', data: { ...request, pid, at: world.clock.now() } }] };
    await world.store.append(streamOf.nbdExport(exportId), events, -1n, context());
    const lease = { port: 10100, jobId: 'job-x', exportName: 'x', allocatedAt: world.clock.now(), expiresAt: '2027' };
    const ports = streamOf.nbdPorts(world.pool.storageNode);
    await world.store.append(ports, [{ type: 'NbdPortsAllocated', data: { leases: [lease] } }], -1n, context());
    world.exporter.kill(exportId);
    await shows('its port is free', async () => assert.deepEqual(await world.leases(), []));
    assert.equal((await load(world.store, nbdExportDecider, streamOf.nbdExport(exportId))).state.pid, null);
  });

  test('tries a step again that failed for now, and says so', async (t) => {
    const world = await createReadyWorld();
    let failures = 2;
    world.images.trouble.before = (what) => {
      if (what === 'create' && failures > 0) {
        failures -= 1;
        throw new Error('EMFILE');
      }
    };
    const backupId = await world.start();
    const { problems } = run(t, world, [backupId]);
    await until(world, backupId, 'the client runs', ({ transfer }) => transfer === 'accepted');
    assert.deepEqual(new Set(problems), new Set(['a step of a backup failed and is tried again']));
  });

  test('opens the feed again when it breaks, and has missed nothing', async (t) => {
    const world = await createReadyWorld();
    let breaks = 1;
    const open: string[] = [];
    const feed: RunnerOptions['feed'] = {
      ...world.store.feed,
      subscribe: (...args) => {
        if (breaks === 0) return world.store.feed.subscribe(...args);
        breaks -= 1;
        throw new Error('connection lost');
      },
    };
    const { runner, problems } = run(t, world, open, { feed });
    await shows('it saw the break', () =>
      assert.ok(problems.includes('the feed of backups broke and is opened again')),
    );
    assert.deepEqual([runner.status().running, runner.status().problem], [false, 'connection lost']);
    const backupId = await world.start();
    open.push(backupId);
    await until(world, backupId, 'the client runs', ({ transfer }) => transfer === 'accepted');
    assert.deepEqual([runner.status().running, runner.status().problem], [true, null]);
  });
});
