import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { load } from '#commands/handle.ts';
import { createNbdLeases } from '#commands/nbd-leases.ts';
import { exportIdFor } from '#domain/backup/ids.ts';
import { DomainError } from '#domain/errors.ts';
import { nbdExportDecider } from '#domain/nbd-export/nbd-export.ts';
import { streamOf } from '#domain/streams.ts';
import { backupOfExport } from '#process-managers/export-owner.ts';
import { createNbdExports } from '#process-managers/nbd-exports.ts';
import { PermanentFailure } from '#process-managers/ports.ts';
import { context, createReadyWorld } from '../support/backup-world.ts';

const never = new AbortController().signal;

const setUp = async () => {
  const world = await createReadyWorld();
  const { store, clock, exporter, pool } = world;
  const leases = createNbdLeases({
    ...{ store, clock, pool },
    occupiedPorts: async () => [],
    servedPorts: async () => new Set([...exporter.running.values()].map(({ port }) => port)),
  });
  const resolveImage = async (path: string) => {
    if (path.startsWith('/backup/')) return path;
    throw new DomainError('image-outside-repositories', 'outside');
  };
  const exports = createNbdExports({ store, clock, exporter, leases, resolveImage });
  await leases.allocate({ jobId: 'job-a', exportName: 'check', diskCount: 1 }, context());
  const isRecorded = async () =>
    (await load(store, nbdExportDecider, streamOf.nbdExport('manual-10100-check'))).state.pid;
  return { world, leases, exports, isRecorded };
};
const request = {
  ...{ exportName: 'check', port: 10100, imagePath: '/backup/x.qcow2', readOnly: true, sharedConnections: 10 },
};

describe('an export started by hand', () => {
  test('runs on its allocated port and is recorded', async () => {
    const { exports, isRecorded } = await setUp();
    const { pid, port, readOnly } = await exports.start(request, context(), never);
    assert.deepEqual([port, readOnly, await isRecorded()], [10100, true, pid]);
  });

  test('needs a port that was allocated and an image inside a repository', async () => {
    const { exports, world } = await setUp();
    await assert.rejects(exports.start({ ...request, port: 10101 }, context(), never), {
      code: 'nbd-port-not-allocated',
    });
    await assert.rejects(exports.start({ ...request, imagePath: '/etc/passwd' }, context(), never), {
      code: 'image-outside-repositories',
    });
    assert.equal(world.exporter.starts(), 0);
  });

  test('does not share its port', async () => {
    const { exports, world } = await setUp();
    world.exporter.strangers.hidden.add(10100);
    await assert.rejects(exports.start(request, context(), never), { code: 'nbd-port-in-use' });
    world.exporter.strangers.hidden.clear();
    await exports.start(request, context(), never);
    await assert.rejects(exports.start({ ...request, exportName: 'other' }, context(), never), {
      code: 'nbd-port-in-use',
    });
  });

  test('tells a locked image from other trouble, in the program’s own words', async () => {
    const { exports, world, isRecorded } = await setUp();
    for (const [words, code] of [
      ['Failed to get shared "write" lock', 'image-locked'],
      ['Unblocked by nobody', 'local-failure'],
    ] as const) {
      world.exporter.trouble.beforeStart = () => {
        throw new PermanentFailure(words);
      };
      await assert.rejects(exports.start(request, context(), never), { code });
    }
    assert.equal(await isRecorded(), null);
  });

  test('stops by process, by name or by both, and gives its port back', async () => {
    for (const by of ['pid', 'exportName', 'both'] as const) {
      const { exports, leases, world, isRecorded } = await setUp();
      const { pid } = await exports.start(request, context(), never);
      const wanted = { pid: { pid }, exportName: { exportName: 'check' }, both: { pid, exportName: 'check' } }[by];
      assert.equal(await exports.stop(wanted, context(), never), pid);
      assert.deepEqual([world.exporter.running.size, await isRecorded(), await leases.leases()], [0, null, []]);
    }
  });

  test('is not found when nothing matches, and nothing is stopped', async () => {
    const { exports, world } = await setUp();
    const { pid } = await exports.start(request, context(), never);
    for (const wanted of [{ pid: 1 }, { exportName: 'x' }])
      await assert.rejects(exports.stop(wanted, context(), never), { code: 'nbd-export-not-found' });
    const both = { pid, exportName: 'x' };
    await assert.rejects(exports.stop(both, context(), never), { code: 'invalid-request' });
    assert.equal(world.exporter.running.size, 1);
  });
});

describe('stopping the export of a backup by hand', () => {
  test('fails the backup, and says who did it', async () => {
    const { exports, world, leases } = await setUp();
    const backupId = await world.start();
    await world.settle(backupId);
    const { pid } = world.exporter.running.get(exportIdFor(backupId, 1)) ?? {};
    assert.equal(await exports.stop({ pid: pid as number }, context(), never), pid);
    const { status, failure } = await world.jobOf(backupId);
    assert.equal(status, 'failed');
    assert.match(failure?.reason ?? '', /disk 1 .*stopped by user:admin/);
    assert.equal((await leases.leases()).length, 3);
    await world.settle(backupId);
    assert.deepEqual(
      (await leases.leases()).map(({ jobId }) => jobId),
      ['job-a'],
    );
  });
});

test('the name of an export tells its backup, or that it has none', () => {
  assert.deepEqual(backupOfExport('backup-db-disk_1-176-disk12'), { backupId: 'backup-db-disk_1-176', diskIndex: 12 });
  assert.deepEqual(backupOfExport('backup-x-disk1-disk0'), { backupId: 'backup-x-disk1', diskIndex: 0 });
  for (const id of ['manual-10100-backup-x-disk0', 'backup-x', 'restore-x-disk0'])
    assert.equal(backupOfExport(id), undefined);
});
