import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { vmContextId } from '../../support/backup-facts.ts';
import { createReadyWorld } from '../../support/backup-world.ts';

const folder = `/backup/repository/${vmContextId}`;

describe('deleting a backup', () => {
  test('takes its files, its restore point and its place in the chain', async () => {
    const world = await createReadyWorld();
    const full = await world.backUp();
    const increment = await world.backUp({ backupType: 'incremental' }, 2);
    const kept = new Set((await world.jobOf(full)).disks.map(({ imagePath }) => imagePath));
    await world.remove(increment);
    await world.settle(increment);

    assert.equal((await world.jobOf(increment)).removal, 'removed');
    assert.deepEqual(new Set(world.images.files.keys()), kept);
    const chain = world.images.sideFiles.written.get(`${folder}/disk-0/chain.json`) as Record<string, unknown>;
    assert.deepEqual(chain.backup_ids, [full]);
    const { points, removing } = await world.points();
    assert.deepEqual([points.map(({ backupId }) => backupId), removing], [[full], []]);
  });

  test('of the last one leaves no file', async () => {
    const world = await createReadyWorld();
    const backupId = await world.backUp();
    await world.remove(backupId);
    await world.settle(backupId);
    assert.equal(world.images.files.size, 0);
    assert.equal(world.images.sideFiles.written.size, 0);
    assert.deepEqual((await world.points()).points, []);
  });

  test('that fails is told, keeps the record and can be asked for again', async () => {
    const world = await createReadyWorld();
    const backupId = await world.backUp();
    world.images.trouble.before = (what) => {
      if (what === 'delete') throw new Error('EACCES: permission denied');
    };
    await world.remove(backupId);
    await world.settle(backupId);
    assert.equal((await world.jobOf(backupId)).removal, 'none');
    assert.equal(world.typesOf(backupId).at(-1), 'BackupRemovalFailed');
    await assert.rejects(world.start({ backupType: 'incremental' }), /is being removed|no previous backup/);

    world.images.trouble.before = () => undefined;
    await world.remove(backupId);
    await world.settle(backupId);
    assert.equal((await world.jobOf(backupId)).removal, 'removed');
    assert.equal(world.images.files.size, 0);
  });

  test('of a failed backup removes its record', async () => {
    const world = await createReadyWorld();
    const backupId = await world.start();
    world.node.trouble.away = true;
    await world.settle(backupId);
    await world.remove(backupId);
    await world.settle(backupId);
    assert.equal((await world.jobOf(backupId)).removal, 'removed');
  });
});
