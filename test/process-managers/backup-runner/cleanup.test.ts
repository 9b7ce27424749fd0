import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { assignPorts } from '#process-managers/backup-runner/start-steps.ts';
import { context, createReadyWorld } from '../../support/backup-world.ts';
import { assertFreed } from './freed.ts';

describe('the cleanup after a failure', () => {
  const failed = async () => {
    const world = await createReadyWorld();
    const backupId = await world.start();
    await world.settle(backupId);
    await world.telemetry(backupId, { status: 'failed', error: 'no snapshot' });
    return { world, backupId };
  };

  test('stops the client, then the exports, then frees ports and images, then closes the job', async () => {
    const { world, backupId } = await failed();
    const before = world.typesOf(backupId).length;
    await world.settle(backupId);
    assert.deepEqual(world.typesOf(backupId).slice(before), [
      ...['TransferCancelled', 'DiskExportStopped', 'DiskExportStopped', 'ExportPortsReleased'],
      ...['DiskImageDeleted', 'DiskImageDeleted', 'BackupClosed'],
    ]);
    await assertFreed(world, backupId);
  });

  test('goes on without a node appliance that is away', async () => {
    const { world, backupId } = await failed();
    world.node.trouble.away = true;
    await world.settle(backupId);
    world.node.trouble.away = false;
    const cancelled = world.store.log.find(({ event }) => event.type === 'TransferCancelled')?.event.data;
    assert.equal((cancelled as { outcome: string }).outcome, 'unreachable');
    await assertFreed(world, backupId);
  });

  test('does all it can when one export cannot be stopped, and the rest when it can', async () => {
    const { world, backupId } = await failed();
    let stuck = true;
    world.exporter.trouble.beforeStop = (exportId) => {
      if (stuck && exportId.endsWith('-disk0')) throw new Error('process 4001 does not end');
    };
    await assert.rejects(world.settle(backupId), /does not end/);
    await assert.rejects(world.settle(backupId), /does not end/);
    assert.deepEqual(
      [...world.images.files.keys()].map((path) => path.includes('/disk-0/')),
      [true],
    );
    assert.equal((await world.leases()).length, 2);
    stuck = false;
    await world.settle(backupId);
    await assertFreed(world, backupId);
  });

  test('does all it can when one image cannot be deleted, and leaves the others of the VM alone', async () => {
    const world = await createReadyWorld();
    await world.backUp();
    const kept = [...world.images.files.keys()];
    const backupId = await world.start({ backupType: 'incremental' });
    await world.settle(backupId);
    await world.telemetry(backupId, { status: 'failed' });
    let stuck = true;
    world.images.trouble.before = (what, path) => {
      if (stuck && what === 'delete' && path.includes('/disk-0/')) throw new Error('EACCES');
    };
    await assert.rejects(world.settle(backupId), /EACCES/);
    assert.deepEqual([(await world.leases()).length, world.images.files.size], [0, 3]);
    stuck = false;
    await world.settle(backupId);
    assert.deepEqual([...world.images.files.keys()], kept);
    assert.equal((await world.points()).points.length, 1);
  });

  test('frees ports that were taken and never recorded with the job', async () => {
    const world = await createReadyWorld();
    const backupId = await world.start();
    const job = await world.jobOf(backupId);
    await assignPorts(job.disks, {
      job,
      deps: world.deps,
      context: context(backupId),
      signal: new AbortController().signal,
    });
    await world.telemetry(backupId, { status: 'failed' });
    assert.equal((await world.leases()).length, 2);
    await world.settle(backupId);
    await assertFreed(world, backupId);
  });
});
