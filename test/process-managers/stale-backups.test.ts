import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { streamOf } from '#domain/streams.ts';
import { createStaleSweep, judge, type OpenBackup } from '#process-managers/stale-backups.ts';
import { at } from '../support/backup-facts.ts';
import { type BackupWorld, createReadyWorld } from '../support/backup-world.ts';

const limits = { stalledSeconds: 60, failedSeconds: 300, neverHeardSeconds: 600 };

describe('silence is judged', () => {
  const after = (seconds: number, over: Partial<OpenBackup> = {}, hubStartedAt = at(-9999)) =>
    judge(
      { backupId: 'b', status: 'running', lastActivityAt: at(0), heard: true, ...over },
      { now: at(seconds), hubStartedAt },
      limits,
    ).verdict;

  test('stalled after a minute, failed after five', () => {
    assert.deepEqual(
      [0, 60, 61, 300, 301].map((seconds) => after(seconds)),
      ['alive', 'alive', 'stalled', 'stalled', 'failed'],
    );
  });
  test('with more patience for a client that was never heard: it takes the snapshot first', () => {
    assert.deepEqual(
      [61, 301, 600, 601].map((seconds) => after(seconds, { heard: false })),
      ['stalled', 'stalled', 'stalled', 'failed'],
    );
  });
  test('from the hub’s own start at the earliest: while it was away it could hear nobody', () => {
    assert.deepEqual(
      [1000, 1060, 1061, 1300, 1301].map((seconds) => after(seconds, {}, at(1000))),
      ['alive', 'alive', 'stalled', 'stalled', 'failed'],
    );
  });
  test('from the last sign of life when that is later than the start', () => {
    assert.equal(after(1100, { lastActivityAt: at(1050) }, at(1000)), 'alive');
  });
});

describe('a sweep over the running backups', () => {
  const sweep = (world: BackupWorld, ...listed: readonly Partial<OpenBackup>[]) =>
    createStaleSweep({
      ...{ store: world.store, clock: world.clock, ids: world.deps.ids, hubStartedAt: at(-9999), limits },
      openBackups: async () =>
        listed.map((job) => ({ backupId: 'b', status: 'running', lastActivityAt: at(0), heard: true, ...job })),
    })();
  const running = async () => {
    const world = await createReadyWorld();
    const backupId = await world.start();
    await world.settle(backupId);
    return { world, backupId };
  };

  test('marks a silent one stalled, once, and fails it later with the time as the reason', async () => {
    const { world, backupId } = await running();
    await world.telemetry(backupId, { percent: 1 });
    world.pass(62);
    await sweep(world, { backupId });
    await sweep(world, { backupId });
    assert.equal((await world.jobOf(backupId)).status, 'stalled');
    assert.equal(world.typesOf(backupId).filter((type) => type === 'BackupStalled').length, 1);
    world.pass(239);
    await sweep(world, { backupId });
    const { status, failure } = await world.jobOf(backupId);
    assert.deepEqual(
      [status, failure?.kind, failure?.reason],
      ['failed', 'silence', 'Job stalled - no telemetry for 5m1s'],
    );
    await world.settle(backupId);
    assert.deepEqual([world.exporter.running.size, world.images.files.size], [0, 0]);
  });

  test('fails one that was never heard, by its own limit', async () => {
    const { world, backupId } = await running();
    world.pass(301);
    await sweep(world, { backupId, heard: true });
    assert.equal((await world.jobOf(backupId)).status, 'stalled');
    world.pass(300);
    await sweep(world, { backupId });
    assert.equal((await world.jobOf(backupId)).status, 'failed');
  });

  test('asks the log itself: the list may not have the newest report yet', async () => {
    const { world, backupId } = await running();
    world.pass(290);
    await world.telemetry(backupId, { percent: 5 });
    world.pass(20);
    await sweep(world, { backupId, lastActivityAt: at(0) });
    assert.equal((await world.jobOf(backupId)).status, 'running');
  });

  test('counts a change id as a sign of life', async () => {
    const { world, backupId } = await running();
    world.pass(290);
    await world.completeDisk(backupId, 0, 'epoch-0/1');
    world.pass(50);
    await sweep(world, { backupId, lastActivityAt: at(290) });
    assert.equal((await world.jobOf(backupId)).status, 'running');
  });

  test('lets a backup be whose data is all in: the client has nothing more to say', async () => {
    const { world, backupId } = await running();
    await world.copyAll(backupId);
    world.pass(5000);
    await sweep(world, { backupId });
    assert.equal((await world.jobOf(backupId)).status, 'running');
  });

  test('changes nothing for one that has ended meanwhile', async () => {
    const world = await createReadyWorld();
    const backupId = await world.backUp();
    const before = world.store.log.length;
    world.pass(5000);
    await sweep(world, { backupId });
    assert.equal(world.store.log.length, before);
  });

  test('judges the others also when one cannot be read', async () => {
    const { world, backupId } = await running();
    const store = {
      ...world.store,
      readBackwards: (stream: string) => {
        if (stream === streamOf.telemetry('unreadable')) throw new Error('an event of a newer hub');
        return world.store.readBackwards<never>(stream);
      },
    };
    world.pass(5000);
    await assert.rejects(sweep({ ...world, store }, { backupId: 'unreadable' }, { backupId }), AggregateError);
    assert.equal((await world.jobOf(backupId)).status, 'failed');
  });

  test('a stalled backup goes on with the next report', async () => {
    const { world, backupId } = await running();
    world.pass(62);
    await sweep(world, { backupId });
    await world.telemetry(backupId, { percent: 3 });
    assert.equal((await world.jobOf(backupId)).status, 'running');
  });
});
