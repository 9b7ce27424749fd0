import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { exportIdFor } from '#domain/backup/ids.ts';
import { tellJob } from '#process-managers/backup-runner/deps.ts';
import { NodeRefused, NodeUnreachable, PermanentFailure } from '#process-managers/ports.ts';
import { type BackupWorld, context, createReadyWorld } from '../../support/backup-world.ts';
import { assertFreed, failureOf } from './freed.ts';

describe('a backup that cannot be started', () => {
  for (const [what, refusal, kind, facts] of [
    ['is unreachable', new NodeUnreachable('connect ECONNREFUSED', false), 'node-unreachable', {}],
    ['does not answer in time', new NodeUnreachable('no answer within 30 s', true), 'node-unreachable', {}],
    ['refuses', new NodeRefused(500, 'no such binary'), 'node-refused', { status: 500, body: 'no such binary' }],
    [
      'answers garbage',
      new NodeRefused(200, 'the answer is not JSON: <html>'),
      'node-refused',
      { status: 200, body: 'the answer is not JSON: <html>' },
    ],
  ] as const) {
    test(`because the node appliance ${what} fails with that reason and frees everything`, async () => {
      const world = await createReadyWorld();
      world.node.trouble.refusal = refusal;
      const backupId = await world.start();
      await world.settle(backupId);
      assert.deepEqual(await failureOf(world, backupId), [kind, facts]);
      assert.match((await world.jobOf(backupId)).failure?.reason ?? '', new RegExp(refusal.message));
      await assertFreed(world, backupId);
    });
  }

  test('because the password is gone fails before anybody is asked', async () => {
    const world = await createReadyWorld();
    const backupId = await world.start();
    world.secrets.clear();
    await world.settle(backupId);
    assert.deepEqual(await failureOf(world, backupId), ['credential', {}]);
    assert.equal(world.node.starts.length, 0);
    assert.ok(!world.typesOf(backupId).includes('TransferCancelled'));
  });

  test('because an image cannot be made names the disk, and frees what the other disk has', async () => {
    const world = await createReadyWorld();
    world.images.trouble.before = (what, path) => {
      if (what === 'create' && path.includes('/disk-1/')) throw new PermanentFailure('No space left on device');
    };
    const backupId = await world.start();
    await world.settle(backupId);
    assert.deepEqual(await failureOf(world, backupId), ['image', { disk: 1 }]);
    assert.equal(world.images.created.length, 1);
    await assertFreed(world, backupId);
  });

  test('because an export does not start names the disk, and stops the other', async () => {
    const world = await createReadyWorld();
    world.exporter.trouble.beforeStart = ({ exportId }) => {
      if (exportId.endsWith('-disk0')) throw new PermanentFailure('Failed to get "write" lock');
    };
    const backupId = await world.start();
    await world.settle(backupId);
    assert.deepEqual(await failureOf(world, backupId), ['export', { disk: 0 }]);
    assert.equal(world.exporter.starts(), 1);
    await assertFreed(world, backupId);
  });

  test('because too few ports are free gets none of them', async () => {
    const world = await createReadyWorld();
    for (let port = 10101; port <= 10200; port += 1) world.exporter.strangers.seen.add(port);
    const backupId = await world.start();
    await world.settle(backupId);
    assert.deepEqual(await failureOf(world, backupId), ['ports-exhausted', { asked: 2 }]);
    assert.ok(!world.store.log.some(({ event }) => event.type === 'NbdPortsAllocated'));
    world.exporter.strangers.seen.clear();
    await assertFreed(world, backupId);
  });

  test('is tried again when what failed may pass, without losing what succeeded', async () => {
    const world = await createReadyWorld();
    let failing = true;
    world.images.trouble.before = (what, path) => {
      if (what === 'create' && failing && path.includes('/disk-0/')) throw new Error('EMFILE');
    };
    const backupId = await world.start();
    await assert.rejects(world.settle(backupId), /EMFILE/);
    assert.ok(world.typesOf(backupId).includes('ExportPortsAssigned'));
    failing = false;
    await world.settle(backupId);
    assert.equal((await world.jobOf(backupId)).transfer, 'accepted');
    assert.equal(world.images.created.length, 2);
  });
});

describe('ports that other programs have', () => {
  test('are passed over when they are seen in time', async () => {
    const world = await createReadyWorld();
    for (const port of [10100, 10102]) world.exporter.strangers.seen.add(port);
    const backupId = await world.start();
    await world.settle(backupId);
    assert.deepEqual(
      (await world.jobOf(backupId)).disks.map(({ port }) => port),
      [10101, 10103],
    );
  });

  test('are given up for the next one when only the start finds out', async () => {
    const world = await createReadyWorld();
    world.exporter.strangers.hidden.add(10101);
    const backupId = await world.start();
    // The next probe sees the stranger that the first one missed.
    world.exporter.trouble.beforeStart = ({ port }) => {
      if (port === 10101) world.exporter.strangers.seen.add(port);
    };
    await world.settle(backupId);
    const job = await world.jobOf(backupId);
    assert.deepEqual(
      job.disks.map(({ port }) => port),
      [10100, 10102],
    );
    assert.deepEqual(
      (await world.leases()).map(({ port }) => port),
      [10100, 10102],
    );
    assert.deepEqual(
      world.node.starts.map(({ nbdTargets }) => nbdTargets),
      ['2000:nbd://127.0.0.1:10100/pgtest1-disk-2000,2001:nbd://127.0.0.1:10102/pgtest1-disk-2001'],
    );
    assert.ok(world.typesOf(backupId).includes('ExportPortLost'));
  });
});

describe('an export that dies', () => {
  const record = async (world: BackupWorld, backupId: string, diskIndex: number) => {
    const data = { backupId, diskIndex, pid: 4002, detail: 'killed by SIGKILL', at: world.clock.now() };
    world.exporter.running.delete(exportIdFor(backupId, diskIndex));
    await tellJob(world.deps, { type: 'RecordExportDeath', data }, context(backupId));
  };

  test('while the client writes fails the backup and cancels the client', async () => {
    const world = await createReadyWorld();
    const backupId = await world.start();
    await world.settle(backupId);
    await record(world, backupId, 1);
    await world.settle(backupId);
    assert.deepEqual(await failureOf(world, backupId), ['export', { disk: 1 }]);
    assert.equal(world.node.clients.size, 0);
    await assertFreed(world, backupId);
  });

  test('just before the node appliance is asked starts no client', async () => {
    const world = await createReadyWorld();
    const backupId = await world.start();
    let died = false;
    const store = {
      ...world.store,
      append: async (...args: Parameters<typeof world.store.append>) => {
        if (!died && args[1].some(({ type }) => type === 'TransferRequested')) {
          died = true;
          await record(world, backupId, 0);
        }
        return world.store.append(...args);
      },
    };
    await world.settleWith({ store }, backupId);
    assert.equal(world.node.starts.length, 0);
    assert.equal((await world.jobOf(backupId)).failure?.kind, 'export');
    await assertFreed(world, backupId);
  });

  test('with all data in fails the backup by what its stop finds', async () => {
    const world = await createReadyWorld();
    const backupId = await world.start();
    await world.settle(backupId);
    await world.copyAll(backupId);
    await record(world, backupId, 1);
    await world.settle(backupId);
    assert.deepEqual(await failureOf(world, backupId), ['unclean-image', { disk: 1 }]);
    await assertFreed(world, backupId);
  });
});

describe('a backup whose data is in', () => {
  test('fails when an export does not end in order, whatever the image looks like', async () => {
    for (const diskIndex of [0, 1]) {
      const world = await createReadyWorld();
      const backupId = await world.start();
      await world.settle(backupId);
      await world.copyAll(backupId);
      world.exporter.ends.set(exportIdFor(backupId, diskIndex), 'unclean');
      await world.settle(backupId);
      assert.deepEqual(await failureOf(world, backupId), ['unclean-image', { disk: diskIndex }]);
      world.exporter.ends.clear();
      await assertFreed(world, backupId);
    }
  });

  test('fails when a finished image cannot be read back', async () => {
    const world = await createReadyWorld();
    const backupId = await world.start();
    await world.settle(backupId);
    await world.copyAll(backupId);
    world.images.trouble.before = (what) => {
      if (what === 'inspect') throw new PermanentFailure('Image is not in qcow2 format');
    };
    await world.settle(backupId);
    assert.deepEqual(await failureOf(world, backupId), ['image', {}]);
    world.images.trouble.before = () => undefined;
    await assertFreed(world, backupId);
  });

  test('that fails just after its restore point was registered withdraws it', async () => {
    const world = await createReadyWorld();
    const backupId = await world.start();
    await world.settle(backupId);
    await world.copyAll(backupId);
    const store = {
      ...world.store,
      append: async (...[stream, events, expected, cause]: Parameters<typeof world.store.append>) => {
        const result = await world.store.append(stream, events, expected, cause);
        if (events.some(({ type }) => type === 'RestorePointAdded')) {
          await world.telemetry(backupId, { status: 'failed', error: 'the snapshot could not be removed' });
        }
        return result;
      },
    };
    await world.settleWith({ store }, backupId);
    assert.equal((await world.jobOf(backupId)).status, 'failed');
    await assertFreed(world, backupId);
  });
});
