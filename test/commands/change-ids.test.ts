import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createStartBackup } from '#commands/start-backup.ts';
import { gib } from '../support/backup-facts.ts';
import { context, createReadyWorld, dyingBefore } from '../support/backup-world.ts';

const ask = { vmName: 'pgtest1', diskIndex: 0 };

describe('the last change id of a disk, with no backup running,', () => {
  test('is unknown without a completed backup, and for an unknown VM or disk', async () => {
    const world = await createReadyWorld();
    for (const query of [ask, { ...ask, vmName: 'nobody' }])
      await assert.rejects(world.findChangeId(query), { code: 'change-id-not-found' });
    await world.backUp();
    await assert.rejects(world.findChangeId({ ...ask, diskIndex: 2 }), { code: 'change-id-not-found' });
    await assert.rejects(world.findChangeId({ ...ask, repositoryId: 'repo-2' }), { code: 'change-id-not-found' });
  });

  test('is that of the chain’s head, each disk for itself', async () => {
    const world = await createReadyWorld();
    await world.backUp();
    const backupId = await world.backUp({ backupType: 'incremental' }, 2);
    for (const diskIndex of [0, 1]) {
      const { changeId, point, diskIndex: answered } = await world.findChangeId({ ...ask, diskIndex });
      assert.deepEqual([changeId, point.backupId, answered], [`epoch-${diskIndex}/2`, backupId, diskIndex]);
    }
  });

  test('is the newest of all repositories, or of the one that is named', async () => {
    const world = await createReadyWorld();
    await world.addRepository('repo-2', '/second');
    await world.backUp({}, 1);
    await world.backUp({ repositoryId: 'repo-2' }, 2);
    assert.equal((await world.findChangeId(ask)).changeId, 'epoch-0/2');
    assert.equal((await world.findChangeId({ ...ask, repositoryId: 'repo-local-1760055634' })).changeId, 'epoch-0/1');
  });

  test('never comes from a failed backup, also before that is cleaned up', async () => {
    const world = await createReadyWorld();
    await world.backUp();
    const failed = await world.start({ backupType: 'full' });
    await world.completeDisk(failed, 0, 'epoch-0/9');
    await world.telemetry(failed, { status: 'failed' });
    assert.equal((await world.findChangeId(ask)).changeId, 'epoch-0/1');
  });

  test('is not that of an older backup when the head has none', async () => {
    const world = await createReadyWorld();
    await world.backUp();
    const backupId = await world.start();
    await world.settle(backupId);
    for (const _ of [0, 1]) await world.telemetry(backupId, { status: 'completed' });
    await world.settle(backupId);
    await assert.rejects(world.findChangeId(ask), { code: 'change-id-not-found' });
  });
});

describe('the last change id of a disk, while a backup runs,', () => {
  test('is unknown to a full one: it has to copy everything', async () => {
    const world = await createReadyWorld();
    await world.backUp();
    await world.start();
    for (const diskIndex of [0, 1])
      await assert.rejects(world.findChangeId({ ...ask, diskIndex }), { code: 'change-id-not-found' });
  });

  test('is what the overlay is based on, not a newer one of another repository', async () => {
    const world = await createReadyWorld();
    await world.addRepository('repo-2', '/second');
    await world.backUp({}, 1);
    await world.backUp({ repositoryId: 'repo-2' }, 2);
    const backupId = await world.start({ backupType: 'incremental' });
    assert.equal((await world.findChangeId({ ...ask, diskIndex: 1 })).changeId, 'epoch-1/1');
    await world.completeDisk(backupId, 1, 'epoch-1/3');
    assert.equal((await world.findChangeId(ask)).changeId, 'epoch-0/1');
  });

  test('asked for a disk that is done is that of the lowest open one', async () => {
    const world = await createReadyWorld();
    await world.backUp();
    const backupId = await world.start({ backupType: 'incremental' });
    assert.equal((await world.findChangeId(ask)).diskIndex, 0);
    await world.completeDisk(backupId, 0, 'epoch-0/2');
    const { diskIndex, changeId } = await world.findChangeId(ask);
    assert.deepEqual([diskIndex, changeId], [1, 'epoch-1/1']);
    await world.completeDisk(backupId, 0, 'epoch-1/2');
    await assert.rejects(world.findChangeId(ask), { code: 'change-id-not-found' });
  });

  test('of a disk that the job does not have is unknown', async () => {
    const world = await createReadyWorld();
    await world.backUp();
    await world.start({ backupType: 'incremental' });
    await assert.rejects(world.findChangeId({ ...ask, diskIndex: 5 }), { code: 'change-id-not-found' });
  });

  test('is that of the VM that is being backed up, when two have the name', async () => {
    const world = await createReadyWorld();
    await world.backUp();
    await world.addVm({ contextId: 'ctx-other', vcenterHost: 'vc2.lab' });
    await world.start({ vmContextId: 'ctx-other' });
    await assert.rejects(world.findChangeId(ask), { code: 'change-id-not-found' });
  });

  test('is unknown while the job is only being recorded', async () => {
    const world = await createReadyWorld();
    await world.backUp();
    const dying = createStartBackup({ ...world.commandDeps, store: dyingBefore(world.store, 'BackupStarted') });
    const input = { vmName: 'pgtest1', repositoryId: 'repo-local-1760055634', backupType: 'full', tags: {} } as const;
    await assert.rejects(dying(input, context, undefined));
    await assert.rejects(world.findChangeId(ask), { code: 'change-id-not-found' });
  });
});

describe('a client that says disk 0 for every disk', () => {
  test('makes a full and an incremental backup with each change id on its own disk', async () => {
    const world = await createReadyWorld();
    for (const [backupType, round] of [
      ['full', 1],
      ['incremental', 2],
      ['incremental', 3],
    ] as const) {
      const backupId = await world.start({ backupType });
      await world.settle(backupId);
      for (const disk of [0, 1]) {
        const base = await world.findChangeId(ask).catch(() => undefined);
        assert.equal(base?.changeId, backupType === 'full' ? undefined : `epoch-${disk}/${round - 1}`);
        await world.telemetry(backupId, { bytesTransferred: gib, percent: 50 });
        await world.telemetry(backupId, { status: 'completed', phase: 'completed' });
        await world.settle(backupId);
        await world.completeDisk(backupId, 0, `epoch-${disk}/${round}`);
        await world.settle(backupId);
      }
      assert.equal((await world.jobOf(backupId)).status, 'completed');
      const point = (await world.points()).points.at(-1);
      assert.deepEqual(
        point?.disks.map(({ changeId }) => changeId),
        [`epoch-0/${round}`, `epoch-1/${round}`],
      );
      world.pass(3600);
    }
  });
});
