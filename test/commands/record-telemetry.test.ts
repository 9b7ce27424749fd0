import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createRecordTelemetry } from '#commands/record-telemetry.ts';
import { diskBackupIdOf } from '#domain/backup/ids.ts';
import { context, createReadyWorld, report } from '../support/backup-world.ts';

describe('telemetry', () => {
  test('of an unknown job is refused', async () => {
    const world = await createReadyWorld();
    await assert.rejects(world.telemetry('backup-nobody-1'), { code: 'job-not-found' });
  });

  test('under a disk’s own id speaks for that disk, also when two disks say the same at once', async () => {
    const world = await createReadyWorld();
    const backupId = await world.start();
    await world.settle(backupId);
    const record = createRecordTelemetry(world.commandDeps);
    const done = report({ status: 'completed', timestamp: '2026-11-22T02:16:09.000Z' });
    for (const { imagePath } of (await world.jobOf(backupId)).disks.toReversed()) {
      await record({ jobId: diskBackupIdOf(imagePath), report: done, fingerprint: 'same words' }, context());
    }
    assert.deepEqual(
      (await world.jobOf(backupId)).disks.map(({ transferred }) => transferred),
      [true, true],
    );
  });

  test('of failure or with an error fails the job with its reason', async () => {
    for (const [over, reason] of [
      [{ status: 'failed', error: 'no space' }, 'no space'],
      [{ status: 'running', error: 'snapshot lost' }, 'snapshot lost'],
      [{ status: 'failed' }, 'the backup client reported a failure and gave no reason'],
    ] as const) {
      const world = await createReadyWorld();
      const backupId = await world.start();
      await world.telemetry(backupId, over);
      assert.deepEqual((await world.jobOf(backupId)).failure, { kind: 'client', reason, facts: {} });
    }
  });

  test('says stalled and running', async () => {
    const world = await createReadyWorld();
    const backupId = await world.start();
    await world.telemetry(backupId, { status: 'stalled' });
    assert.equal((await world.jobOf(backupId)).status, 'stalled');
    await world.telemetry(backupId, { percent: 1 });
    assert.equal((await world.jobOf(backupId)).status, 'running');
  });

  test('of an ended job is taken and changes nothing', async () => {
    const world = await createReadyWorld();
    const backupId = await world.backUp();
    const before = world.store.log.length;
    for (const over of [{ percent: 3 }, { status: 'failed', error: 'late' }, { status: 'completed' }] as const) {
      assert.equal((await world.telemetry(backupId, over)).position, undefined);
    }
    assert.equal(world.store.log.length, before);
  });

  test('that is under way when the job ends and its stream is emptied is taken as well', async () => {
    const world = await createReadyWorld();
    const backupId = await world.start();
    await world.settle(backupId);
    await world.telemetry(backupId, { percent: 3 });
    const store = {
      ...world.store,
      readBackwards: async function* (stream: string) {
        await world.copyAll(backupId);
        await world.settle(backupId);
        yield* world.store.readBackwards<never>(stream);
      },
    };
    const record = createRecordTelemetry({ ...world.commandDeps, store });
    const late = await record({ jobId: backupId, report: report({ percent: 4 }), fingerprint: 'late' }, context());
    assert.equal(late.position, undefined);
    assert.equal((await world.jobOf(backupId)).status, 'completed');
  });

  test('that the store did not take is no success, whatever became of the job', async () => {
    const world = await createReadyWorld();
    const backupId = await world.start();
    await world.settle(backupId);
    const store = {
      ...world.store,
      append: async () => {
        await world.copyAll(backupId);
        await world.settle(backupId);
        throw new Error('disk full');
      },
    };
    const record = createRecordTelemetry({ ...world.commandDeps, store });
    await assert.rejects(record({ jobId: backupId, report: report(), fingerprint: 'x' }, context()), /disk full/);
  });
});
