import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { createNbdLeases } from '#commands/nbd-leases.ts';
import { at } from '../support/backup-facts.ts';
import { context, createReadyWorld } from '../support/backup-world.ts';

const setUp = async () => {
  const world = await createReadyWorld();
  const served = new Set<number>();
  const occupied: number[] = [];
  const leases = createNbdLeases({
    ...{ store: world.store, clock: world.clock, pool: world.pool },
    occupiedPorts: async () => occupied,
    servedPorts: async () => served,
  });
  const ports = async () => (await leases.leases()).map(({ port }) => port);
  return { world, leases, served, occupied, ports };
};
const ask = { jobId: 'job-a', exportName: 'vm', diskCount: 1 };

describe('leasing NBD ports', () => {
  test('gives one by the name asked for, several by name and number, for a day', async () => {
    const { leases, occupied } = await setUp();
    occupied.push(10101);
    assert.deepEqual(await leases.allocate(ask, context()), [
      { port: 10100, jobId: 'job-a', exportName: 'vm', allocatedAt: at(), expiresAt: at(86_400) },
    ]);
    const two = await leases.allocate({ ...ask, jobId: 'job-b', diskCount: 2 }, context());
    assert.deepEqual(
      two.map(({ port, exportName }) => [port, exportName]),
      [
        [10102, 'vm-disk0'],
        [10103, 'vm-disk1'],
      ],
    );
  });

  test('gives a repeat what it got, and refuses another number', async () => {
    const { leases, ports } = await setUp();
    for (const diskCount of [2, 2]) await leases.allocate({ ...ask, diskCount }, context());
    assert.deepEqual(await ports(), [10100, 10101]);
    for (const diskCount of [1, 3]) {
      await assert.rejects(leases.allocate({ ...ask, diskCount }, context()), { code: 'nbd-lease-conflict' });
    }
  });

  test('does not confuse a name with a longer one', async () => {
    const { leases } = await setUp();
    await leases.allocate({ ...ask, exportName: 'vm-disk-2000' }, context());
    await leases.allocate({ ...ask, exportName: 'vm-disks' }, context());
    await leases.allocate({ ...ask, diskCount: 2 }, context());
    assert.equal((await leases.allocate({ ...ask, diskCount: 2 }, context())).length, 2);
  });

  test('is refused as a whole when too few are free', async () => {
    const { leases, ports } = await setUp();
    await assert.rejects(leases.allocate({ ...ask, diskCount: 102 }, context()), {
      code: 'nbd-ports-exhausted',
      details: { asked: 102, free: 101 },
    });
    assert.deepEqual(await ports(), []);
  });

  test('gives back what is the job’s: named ones or all, and says how many', async () => {
    const { leases, ports } = await setUp();
    await leases.allocate({ ...ask, diskCount: 3 }, context());
    await leases.allocate({ ...ask, jobId: 'job-b' }, context());
    assert.equal(await leases.release('job-a', [10101, 10103, 10150], context()), 1);
    assert.equal(await leases.release('job-a', [], context()), 2);
    assert.equal(await leases.release('job-a', [], context()), 0);
    assert.deepEqual(await ports(), [10103]);
  });

  test('gives nothing back while one of the ports is served', async () => {
    const { leases, served, ports } = await setUp();
    await leases.allocate({ ...ask, diskCount: 2 }, context());
    served.add(10101);
    await assert.rejects(leases.release('job-a', [], context()), { code: 'nbd-port-in-use' });
    assert.equal(await leases.release('job-a', [10100], context()), 1);
    assert.deepEqual(await ports(), [10101]);
  });

  test('ends with the day, unless somebody still uses the port', async () => {
    const { world, leases, served, ports } = await setUp();
    const backupId = await world.start();
    await world.settle(backupId);
    await leases.allocate({ ...ask, diskCount: 2 }, context());
    served.add(10103);
    world.pass(86_400);
    await leases.sweep(context());
    assert.deepEqual(await ports(), [10100, 10101, 10102, 10103]);
    world.pass(1);
    await leases.sweep(context());
    assert.deepEqual(await ports(), [10100, 10101, 10103]);
    await world.telemetry(backupId, { status: 'failed' });
    await leases.sweep(context());
    assert.deepEqual(await ports(), [10103]);
  });
});
