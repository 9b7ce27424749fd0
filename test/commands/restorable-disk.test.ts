import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createFindRestorableDisk } from '#commands/restorable-disk.ts';
import { createReadyWorld } from '../support/backup-world.ts';

describe('a disk that is to be exported, written back or mounted', () => {
  test('is found in a completed backup, and in no other', async () => {
    const world = await createReadyWorld();
    const find = createFindRestorableDisk(world);
    const backupId = await world.backUp();
    const { disks, repositoryPath } = await world.jobOf(backupId);
    assert.deepEqual(await find(backupId, 1), {
      ...{ backupId, vmName: 'pgtest1', diskIndex: 1, imagePath: disks[1]?.imagePath, repositoryPath },
    });
    await assert.rejects(find(backupId, 2), { code: 'backup-disk-not-found' });
    await assert.rejects(find('backup-nobody-1', 0), { code: 'backup-not-found' });
    await assert.rejects(find(await world.start(), 0), { code: 'backup-not-restorable' });
  });

  test('is refused from the moment on that the removal of its backup begins', async () => {
    const world = await createReadyWorld();
    const find = createFindRestorableDisk(world);
    const backupId = await world.backUp();
    await world.remove(backupId);
    await assert.rejects(find(backupId, 0), { code: 'backup-not-restorable', message: `${backupId} is being deleted` });
    await world.settle(backupId);
    await assert.rejects(find(backupId, 0), { code: 'backup-not-found' });
  });
});
