import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { gib } from '../../support/backup-facts.ts';
import { createReadyWorld } from '../../support/backup-world.ts';

describe('a backup that telemetry alone completes', () => {
  const zeros = { status: 'completed', phase: 'completed' } as const;

  test('takes the change ids that come after its end, each onto its disk', async () => {
    const world = await createReadyWorld();
    const backupId = await world.start();
    await world.settle(backupId);
    await world.telemetry(backupId, { bytesTransferred: 4 * gib, percent: 40, speedBps: 1000 });
    world.pass(30);
    await world.telemetry(backupId, { bytesTransferred: 8 * gib, percent: 80, speedBps: 3000 });
    await world.telemetry(backupId, zeros);
    await world.telemetry(backupId, zeros);
    await world.settle(backupId);
    assert.equal((await world.jobOf(backupId)).status, 'completed');
    assert.deepEqual(
      (await world.points()).points[0]?.disks.map(({ changeId }) => changeId),
      [null, null],
    );

    await world.completeDisk(backupId, 0, 'epoch-0/1');
    await world.completeDisk(backupId, 0, 'epoch-1/1');
    assert.deepEqual(
      (await world.points()).points[0]?.disks.map(({ changeId }) => changeId),
      ['epoch-0/1', 'epoch-1/1'],
    );
    await world.settle(backupId);
    const side = [...world.images.files.keys()].map(
      (path) => world.images.sideFiles.written.get(`${path}.json`) as Record<string, unknown>,
    );
    assert.deepEqual(
      side.map((content) => content.change_id),
      ['epoch-0/1', 'epoch-1/1'],
    );
    await world.start({ backupType: 'incremental' });
  });

  test('takes a change id that comes while it is being completed', async () => {
    const world = await createReadyWorld();
    const backupId = await world.start();
    await world.settle(backupId);
    await world.telemetry(backupId, zeros);
    await world.telemetry(backupId, zeros);
    const store = {
      ...world.store,
      append: async (...args: Parameters<typeof world.store.append>) => {
        const result = await world.store.append(...args);
        if (args[1].some(({ type }) => type === 'RestorePointAdded')) {
          await world.completeDisk(backupId, 1, 'epoch-1/1');
        }
        return result;
      },
    };
    await world.settleWith({ store }, backupId);
    assert.equal((await world.jobOf(backupId)).status, 'completed');
    assert.deepEqual(
      (await world.points()).points[0]?.disks.map(({ changeId }) => changeId),
      [null, 'epoch-1/1'],
    );
  });

  test('keeps its profile when it is closed a second time', async () => {
    const world = await createReadyWorld();
    const backupId = await world.start();
    await world.settle(backupId);
    for (const [percent, speedBps] of [
      [10, 1000],
      [50, 3000],
      [90, 0],
    ] as const) {
      await world.telemetry(backupId, { percent, speedBps });
      world.pass(30);
    }
    await world.telemetry(backupId, zeros);
    await world.telemetry(backupId, zeros);
    await world.settle(backupId);
    await world.completeDisk(backupId, 0, 'epoch-0/1');
    await world.settle(backupId);

    const profiles = world.store.log.flatMap(({ event }) =>
      event.type === 'BackupClosed' ? [(event.data as { performance: unknown }).performance] : [],
    );
    assert.deepEqual(profiles, [
      {
        ...{ durationSeconds: 60, snapshotsRecorded: 3, peakSpeedBps: 3000, avgSpeedBps: 2333, minSpeedBps: 1000 },
        chart: [
          { t: 0, s: 1000, p: 9.532710280373832, phase: 'transferring' },
          { t: 30, s: 3000, p: 47.66355140186916, phase: 'transferring' },
          { t: 60, s: 3000, p: 85.79439252336448, phase: 'transferring' },
        ],
      },
      null,
    ]);
    assert.equal((await world.store.read(`telemetry-${backupId}`)).events.length, 0);
  });
});
