import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { eventually } from '../support/eventually.ts';
import { type FakeNode, startFakeNode } from '../support/fake-node.ts';
import { type ChangedExtent, changeExtents } from '../support/lab-vm.ts';
import { type ClientDisk, OldClient } from '../support/old-client.ts';
import type { WireBackup } from '../support/wire.ts';
import { mib, World } from '../support/world.ts';

const disks = [
  { sizeBytes: 48 * mib, dataBytes: 16 * mib },
  { sizeBytes: 32 * mib, dataBytes: 8 * mib },
];

describe('the backup client that is in the field', () => {
  let world: World;
  let node: FakeNode;
  let otherRepositoryId: string;
  before(async () => {
    world = await World.open({ disks });
    otherRepositoryId = await world.addRepository('other', join(world.folder, 'other'));
    // From here on a node that starts nothing: the test is the client.
    node = await startFakeNode(({ body }) => {
      const { job_id } = body as { job_id: string };
      return { json: { job_id, status: 'started', message: '', started_at: new Date().toISOString(), pid: 1 } };
    });
    world.toNode.leadTo(node.url);
    world.toNode.cut();
  });
  after(async () => {
    await node.close();
    await world.close();
  });

  let state = 0;
  const changedSince: ChangedExtent[][] = [[], []];
  const change = async (): Promise<void> => {
    state += 1;
    for (const [index, path] of world.vm.disks.entries()) {
      const written = await changeExtents(path, { count: 4, sizeBytes: mib, zeroHalf: true, seed: `state ${state}` });
      const again = new Set(written.map(({ offset }) => offset));
      changedSince[index] = [...(changedSince[index] ?? []).filter(({ offset }) => !again.has(offset)), ...written];
      changedSince[index].sort((a, b) => a.offset - b.offset);
    }
  };
  const clientDisks = (): Promise<readonly ClientDisk[]> =>
    Promise.all(
      world.vm.disks.map(async (path, index) => ({
        ...{ path, sizeBytes: (await stat(path)).size, changed: changedSince[index] ?? [] },
        ...{ changeId: `52 66 8c 2d-${index}/${state}`, extentFile: join(world.folder, `extents-${index}`) },
      })),
    );
  /** The answer to telemetry does not wait for the tables. */
  const arrived = (backupId: string, { sizeBytes }: ClientDisk): Promise<WireBackup> =>
    eventually('the first disk has all its bytes', async () => {
      const backup = await world.show(backupId);
      return backup.disk_results[0]?.bytes_transferred === sizeBytes && backup;
    });
  const idsOf = (backup: WireBackup) => backup.disk_results.map(({ change_id: id }) => id);

  const play = async (type: 'full' | 'incremental', more: object = {}) => {
    const started = await world.start(type, more);
    const client = new OldClient(world.call, started);
    const all = await clientDisks();
    await client.backUp(all);
    const backup = await world.show(started.backup_id);
    assert.equal(backup.status, 'completed', 'a read straight after the last call shows it completed');
    assert.deepEqual(
      idsOf(backup),
      all.map(({ changeId }) => changeId),
    );
    await world.ended(started.backup_id);
    await world.assertIdentical(backup, await world.keep());
    return { backup, client };
  };

  test('its job goes on after its first disk, and each disk gets its own change id', async () => {
    const started = await world.start('full');
    const client = new OldClient(world.call, started);
    const [first, second] = (await clientDisks()) as [ClientDisk, ClientDisk];
    const show = () => world.show(started.backup_id);

    await client.copy(0, first);
    const midway = await arrived(started.backup_id, first);
    assert.equal(midway.disk_results[1]?.bytes_transferred, 0);
    await client.end();
    assert.equal((await show()).status, 'running', 'one disk of two');
    await client.complete(first);
    assert.equal((await show()).status, 'running');
    assert.deepEqual(idsOf(await show()), [first.changeId, null]);
    await eventually('48 of 80 MiB count for 60 %', async () => {
      return Math.round((await show()).progress_percent) === 60;
    });

    await client.copy(1, second);
    await client.end();
    await client.complete(second);
    const backup = await show();
    assert.equal(backup.status, 'completed');
    assert.deepEqual(idsOf(backup), [first.changeId, second.changeId]);
    assert.equal(backup.bytes_transferred, first.sizeBytes + second.sizeBytes, 'zeros at the end wipe nothing');
    assert.deepEqual(client.asked, [undefined, undefined, undefined, undefined], 'there is nothing to build on');
    await world.ended(started.backup_id);
    await world.assertIdentical(backup, await world.keep());
    await world.assertTidy();
  });

  test('an increment gets the base of the disk that it is at, although it asks for the first', async () => {
    await change();
    const { client, backup } = await play('incremental');
    assert.deepEqual(
      client.asked.map((known) => [known?.disk_id, known?.change_id]),
      [
        ['0', '52 66 8c 2d-0/0'],
        ['0', '52 66 8c 2d-0/0'],
        ['1', '52 66 8c 2d-1/0'],
        ['1', '52 66 8c 2d-1/0'],
      ],
    );
    assert.ok(backup.bytes_transferred <= 8 * mib, 'only the changes were copied');
  });

  test('a full backup with history copies everything', async () => {
    const { client, backup } = await play('full');
    assert.deepEqual(client.asked, [undefined, undefined, undefined, undefined]);
    assert.equal(backup.bytes_transferred, 80 * mib);
  });

  test('an increment in one repository is not based on another repository', async () => {
    await play('full', { repository_id: otherRepositoryId });
    const before = state;
    for (const list of changedSince) list.length = 0;
    await change();
    await play('incremental', { repository_id: otherRepositoryId });
    await change();
    const { client } = await play('incremental');
    assert.deepEqual(
      client.asked.map((known) => known?.change_id),
      [0, 0, 1, 1].map((index) => `52 66 8c 2d-${index}/${before}`),
    );
  });

  test('a backup that failed after its first disk is no base for anything', async () => {
    const kept = await world.keep();
    const [newest] = await world.list(`?repository_id=${world.repositoryId}`);
    const good = await world.show(newest?.backup_id ?? '');
    await change();
    const { backup_id } = await world.start('incremental');
    const client = new OldClient(world.call, await world.show(backup_id));
    const [first] = (await clientDisks()) as [ClientDisk, ClientDisk];
    await client.copy(0, first);
    await client.end();
    await client.complete(first);
    await client.tell({ status: 'failed', error: { message: 'vCenter went away', code: 'x' } });
    const failed = await world.ended(backup_id);
    assert.equal(failed.status, 'failed');
    assert.equal(failed.error_message, 'vCenter went away');
    const { body } = await world.call('GET', `/backups/changeid?vm_name=pgtest1&repository_id=${world.repositoryId}`);
    assert.equal(body.change_id, good.disk_results[0]?.change_id);
    await world.assertIdentical(good, kept);
    await world.assertTidy([world.repositoryPath, join(world.folder, 'other')]);
    const { client: next } = await play('incremental');
    assert.equal(next.asked[0]?.change_id, good.disk_results[0]?.change_id);
  });

  test('the change id of the last disk may come after telemetry has completed the job', async () => {
    const started = await world.start('full');
    const client = new OldClient(world.call, started);
    const all = await clientDisks();
    for (const [index, disk] of all.entries()) {
      await client.copy(index, disk);
      await client.end();
    }
    assert.equal((await world.ended(started.backup_id)).status, 'completed');
    for (const disk of all) await client.complete(disk);
    assert.deepEqual(
      idsOf(await world.show(started.backup_id)),
      all.map(({ changeId }) => changeId),
    );
    for (const list of changedSince) list.length = 0;
    await change();
    await play('incremental');
  });

  test('an export that does not end in order spoils the backup, although its client has finished', async () => {
    const kept = await world.keep();
    const [newest] = await world.list(`?repository_id=${world.repositoryId}`);
    const good = await world.show(newest?.backup_id ?? '');
    const started = await world.start('full');
    const client = new OldClient(world.call, started);
    const [first, second] = (await clientDisks()) as [ClientDisk, ClientDisk];
    await client.copy(0, first);
    await client.complete(first);
    await client.copy(1, second);
    const stuck = started.disk_results[1]?.qemu_nbd_pid ?? 0;
    world.freeze(stuck);
    const body = { change_id: second.changeId, disk_id: 0 };
    const reply = await world.call('POST', `/backups/${started.backup_id}/complete`, { body });
    assert.equal(reply.status, 409, JSON.stringify(reply.body));
    world.thaw(stuck);
    const failed = await world.ended(started.backup_id);
    assert.equal(failed.status, 'failed');
    assert.match(failed.error_message ?? '', /export of disk 1 did not end in order/);
    await world.assertIdentical(good, kept);
    await world.assertTidy([world.repositoryPath, join(world.folder, 'other')]);
  });

  test('telemetry in the wrong order, doubled, for a finished job and after its end changes nothing', async () => {
    const started = await world.start('full');
    const client = new OldClient(world.call, started);
    const all = await clientDisks();
    const [first, second] = all as [ClientDisk, ClientDisk];
    await client.copy(0, first);
    await arrived(started.backup_id, first);
    const old = { current_phase: 'transferring', bytes_transferred: 7, progress_percent: 1 };
    await client.tell({ ...old, timestamp: '2020-01-01T00:00:00Z' });
    const afterOld = await world.show(started.backup_id);
    assert.equal(afterOld.disk_results[0]?.bytes_transferred, first.sizeBytes);
    assert.ok(afterOld.progress_percent > 50);
    const done = { status: 'completed', current_phase: 'completed', timestamp: new Date().toISOString() };
    await client.tell(done);
    await client.tell(done);
    assert.equal((await world.show(started.backup_id)).status, 'running', 'the same message does not end two disks');
    await client.complete(first);
    await client.complete(first);
    await client.copy(1, second);
    await client.end();
    await client.complete(second);
    const ended = await world.ended(started.backup_id);
    for (const message of [old, { status: 'failed', error: 'late' }, { status: 'running' }, { status: 'stalled' }])
      await client.tell(message);
    assert.deepEqual(await world.show(started.backup_id), ended);
    await world.assertIdentical(ended, await world.keep());
    await world.assertTidy([world.repositoryPath, join(world.folder, 'other')]);
  });
});
