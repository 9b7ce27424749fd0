import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createReadyWorld, dyingBefore } from '../support/backup-world.ts';

describe('deleting', () => {
  test('is refused for an unknown and a running backup, and for one with increments', async () => {
    const world = await createReadyWorld();
    await assert.rejects(world.remove('backup-nobody-1'), { code: 'backup-not-found' });
    const full = await world.backUp();
    await world.backUp({ backupType: 'incremental' }, 2);
    await assert.rejects(world.remove(full), { code: 'backup-has-dependants' });
    const running = await world.start();
    await assert.rejects(world.remove(running), { code: 'backup-running' });
  });

  test('that is refused leaves the chain usable', async () => {
    const world = await createReadyWorld();
    const backupId = await world.start();
    await world.settle(backupId);
    await world.copyAll(backupId);
    // The restore point is registered, the job is not yet completed.
    await assert.rejects(world.settleWith({ store: dyingBefore(world.store, 'BackupCompleted') }, backupId));
    await assert.rejects(world.remove(backupId), { code: 'backup-running' });
    assert.deepEqual((await world.points()).removing, []);
  });

  test('is refused while a disk is written back, and says by which restore', async () => {
    const world = await createReadyWorld();
    const backupId = await world.backUp();
    const restore = {
      restoreId: 'r-1',
      backupId,
      diskIndex: 1,
      target: { type: 'nbd', uri: 'nbd://kvm-1/x' },
    } as const;
    world.openRestores.push({ ...restore, restoreId: 'r-0', backupId: 'another' }, restore);
    await assert.rejects(world.remove(backupId), {
      ...{ code: 'backup-being-read', details: { restoreId: 'r-1' } },
      message: `disk 1 of ${backupId} is being written back; wait for the restore's end or cancel it: r-1`,
    });
    assert.deepEqual((await world.points()).removing, []);
    world.openRestores.pop();
    await world.remove(backupId);
    assert.equal((await world.jobOf(backupId)).removal, 'requested');
  });

  test('is refused until the last of its downloads has ended', async () => {
    const world = await createReadyWorld();
    const backupId = await world.backUp();
    world.openExports.begin({ backupId: 'another', diskIndex: 0 });
    const [first, second] = [0, 0].map((diskIndex) => world.openExports.begin({ backupId, diskIndex }));
    first?.();
    first?.(); // whoever ends it may say so twice
    await assert.rejects(world.remove(backupId), {
      code: 'backup-being-read',
      message: /disk 0 .* is being downloaded/,
    });
    assert.deepEqual((await world.points()).removing, []);
    second?.();
    await world.remove(backupId);
    assert.equal((await world.jobOf(backupId)).removal, 'requested');
  });

  test('may be asked for twice', async () => {
    const world = await createReadyWorld();
    const backupId = await world.backUp();
    await world.remove(backupId);
    await world.remove(backupId);
    await world.settle(backupId);
    await assert.rejects(world.remove(backupId), { code: 'backup-not-found' });
  });

  test('while a late change id is being written ends as well', async () => {
    const world = await createReadyWorld();
    const backupId = await world.start();
    await world.settle(backupId);
    for (const _ of [0, 1]) await world.telemetry(backupId, { status: 'completed' });
    await world.settle(backupId);
    await world.completeDisk(backupId, 0, 'epoch-0/1');
    await world.remove(backupId);
    await world.settle(backupId);
    assert.equal((await world.jobOf(backupId)).removal, 'removed');
    assert.deepEqual([world.images.files.size, world.images.sideFiles.written.size], [0, 0]);
  });
});
