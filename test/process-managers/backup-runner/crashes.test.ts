import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { exportIdFor } from '#domain/backup/ids.ts';
import { NodeUnreachable } from '#process-managers/ports.ts';
import { type BackupWorld, createReadyWorld, dyingBefore } from '../../support/backup-world.ts';

/** Settles with a hub that dies just before it writes such an event, then with the next hub. */
const dieAndResume = async (world: BackupWorld, backupId: string, type: string): Promise<void> => {
  const died = new RegExp(`died before ${type}`);
  await assert.rejects(world.settleWith({ store: dyingBefore(world.store, type) }, backupId), died);
  await world.settle(backupId);
};

const freed = async ({ exporter, leases, node }: BackupWorld): Promise<void> => {
  assert.deepEqual([exporter.running.size, (await leases()).length, node.clients.size], [0, 0, 0]);
};

describe('a hub that dies between an effect and its record goes on at the next start', () => {
  for (const type of [
    'ExportPortsAssigned',
    'DiskImageCreated',
    'DiskExportStarted',
    'TransferRequested',
    'TransferAccepted',
  ]) {
    test(`before ${type}: one process and one image for each disk, one client`, async () => {
      const world = await createReadyWorld();
      const backupId = await world.start();
      await dieAndResume(world, backupId, type);

      assert.equal(world.exporter.starts(), 2);
      assert.equal(world.images.created.length, 2);
      assert.equal(world.node.starts.length, 1);
      assert.deepEqual(
        (await world.leases()).map(({ port }) => port),
        [10100, 10101],
      );
      const job = await world.jobOf(backupId);
      assert.deepEqual([job.status, job.transfer], ['running', 'accepted']);
      assert.deepEqual(
        job.disks.map(({ port }) => port),
        [10100, 10101],
      );
      await world.copyAll(backupId);
      await world.settle(backupId);
      assert.equal((await world.jobOf(backupId)).status, 'completed');
      await freed(world);
    });
  }

  for (const type of ['ExportPortsReleased', 'RestorePointAdded', 'BackupCompleted', 'BackupClosed']) {
    test(`before ${type}: the backup is completed once`, async () => {
      const world = await createReadyWorld();
      const backupId = await world.start();
      await world.settle(backupId);
      await world.copyAll(backupId);
      await dieAndResume(world, backupId, type);

      const job = await world.jobOf(backupId);
      assert.deepEqual([job.status, job.closed], ['completed', true]);
      const once = ['BackupCompleted', 'ExportPortsReleased', 'BackupClosed'];
      assert.deepEqual(world.typesOf(backupId).filter((each) => once.includes(each)).length, 3);
      assert.equal((await world.points()).points.length, 1);
      await freed(world);
    });
  }

  test('before DiskExportStopped: nobody can tell any more how the export ended, so the image is not trusted', async () => {
    const world = await createReadyWorld();
    const backupId = await world.start();
    await world.settle(backupId);
    await world.copyAll(backupId);
    await dieAndResume(world, backupId, 'DiskExportStopped');

    const job = await world.jobOf(backupId);
    assert.deepEqual([job.status, job.failure?.kind, job.closed], ['failed', 'unclean-image', true]);
    assert.deepEqual([world.images.files.size, (await world.points()).points.length], [0, 0]);
    await freed(world);
  });

  for (const type of [
    'BackupFailed',
    'TransferCancelled',
    'DiskExportStopped',
    'ExportPortsReleased',
    'DiskImageDeleted',
    'BackupAbandoned',
    'BackupClosed',
  ]) {
    test(`before ${type} of a failing backup: it still fails, and frees everything`, async () => {
      const world = await createReadyWorld();
      const backupId = await world.start();
      await world.settle(backupId);
      if (type === 'BackupFailed') {
        await world.copyAll(backupId);
        for (const diskIndex of [0, 1]) world.exporter.ends.set(exportIdFor(backupId, diskIndex), 'unclean');
      } else await world.telemetry(backupId, { status: 'failed', error: 'no snapshot' });
      await dieAndResume(world, backupId, type);

      const job = await world.jobOf(backupId);
      assert.deepEqual([job.status, job.closed], ['failed', true]);
      assert.equal(world.images.files.size, 0);
      assert.equal((await world.points()).active, null);
      await freed(world);
    });
  }

  for (const type of ['RestorePointRemoved', 'BackupRemoved', 'BackupRemovalFailed']) {
    test(`before ${type} of a deletion: the deletion goes on`, async () => {
      const world = await createReadyWorld();
      const backupId = await world.backUp();
      let failing = type === 'BackupRemovalFailed';
      world.images.trouble.before = (what) => {
        if (what === 'delete' && failing) throw new Error('EACCES');
      };
      await world.remove(backupId);
      const dying = dyingBefore(world.store, type);
      await assert.rejects(world.settleWith({ store: dying }, backupId), /died before/);
      failing = false;
      await world.settle(backupId);
      assert.equal((await world.jobOf(backupId)).removal, 'removed');
      assert.deepEqual([world.images.files.size, (await world.points()).points.length], [0, 0]);
    });
  }
});

describe('a hub that dies between the request to the node appliance and its answer', () => {
  const dieAsking = async (world: BackupWorld): Promise<string> => {
    const backupId = await world.start();
    world.node.trouble.lostAnswer = new Error('the hub was killed');
    await assert.rejects(world.settle(backupId), /the hub was killed/);
    world.node.trouble.lostAnswer = undefined;
    return backupId;
  };

  test('asks whether the job is known instead of starting a second client', async () => {
    const world = await createReadyWorld();
    const backupId = await dieAsking(world);
    await world.settle(backupId);
    assert.equal(world.node.starts.length, 1);
    assert.equal((await world.jobOf(backupId)).transfer, 'accepted');
  });

  test('fails a job that the appliance does not know', async () => {
    const world = await createReadyWorld();
    const backupId = await dieAsking(world);
    world.node.clients.clear();
    await world.settle(backupId);
    const job = await world.jobOf(backupId);
    assert.deepEqual([job.status, job.failure?.kind, world.node.starts.length], ['failed', 'hub-restart', 1]);
    await freed(world);
  });

  test('fails a job whose appliance is away', async () => {
    const world = await createReadyWorld();
    const backupId = await dieAsking(world);
    world.node.trouble.away = true;
    await world.settle(backupId);
    assert.equal((await world.jobOf(backupId)).failure?.kind, 'node-unreachable');
    assert.ok(world.typesOf(backupId).includes('TransferCancelled'));
  });
});

describe('a hub that is told to stop in the middle', () => {
  test('does not take what fails because of that for the job’s failure', async () => {
    const world = await createReadyWorld();
    const backupId = await world.start();
    const stop = new AbortController();
    const startBackup = async () => {
      stop.abort();
      throw new NodeUnreachable('aborted', true);
    };
    const settling = world.settleWith({ node: { ...world.node, startBackup } }, backupId, stop.signal);
    await assert.rejects(settling);
    assert.equal((await world.jobOf(backupId)).status, 'running');
    await world.settle(backupId);
    assert.equal((await world.jobOf(backupId)).failure?.kind, 'hub-restart');
  });
});
