import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { BackupEvent } from '#domain/backup/events.ts';
import type { Database } from '#infra/postgres/database.ts';
import { type BackupQueries, backupQueries } from '#projections/backup-queries.ts';
import { backupsProjection } from '#projections/backups.ts';
import { at, backupId, backupStarted, changeIds, facts, gib, histories, progress } from '../support/backup-facts.ts';
import { eachWithDatabase, type TestPostgres } from '../support/postgres.ts';
import { createTeller } from '../support/projected.ts';

let postgres: TestPostgres;
let database: Database;
let tell: ReturnType<typeof createTeller>;
let queries: BackupQueries;

eachWithDatabase((fresh, server) => {
  database = fresh;
  postgres = server;
  tell = createTeller(database.readModel, backupsProjection);
  queries = backupQueries(database.readModel);
});

const job = async (id = backupId) => {
  const row = await queries.find(id);
  assert.ok(row, `${id} is not in the table`);
  return row;
};
const columns = async <K extends keyof Awaited<ReturnType<BackupQueries['disks']>>[number]>(...keys: readonly K[]) =>
  (await queries.disks(backupId)).map((disk) => keys.map((key) => disk[key]));

describe('the row of a backup', () => {
  test('is there from its start, with everything at nothing', async () => {
    await tell(backupStarted({ tags: { reason: 'nightly' } }));
    const { position, ...row } = await job();
    assert.equal(position, '1');
    assert.deepEqual(row, {
      ...{ backup_id: backupId, vm_context_id: 'ctx-pgtest1-20261006-203401', vm_name: 'pgtest1' },
      ...{ vm_path: '/DC1/vm/pgtest1', backup_context_id: 'ctx-backup-pgtest1-1795313765' },
      ...{ repository_id: 'repo-local-1760055634', policy_id: null, backup_type: 'full', parent_backup_id: null },
      ...{ tags: { reason: 'nightly' }, status: 'running', current_phase: 'pending', disks_count: 2 },
      ...{ bytes_transferred: 0, total_bytes: 0, progress_percent: 0, transfer_speed_bps: 0, eta_seconds: 0 },
      ...{ nbd_targets: null, error_message: null, performance: null, completed_at: null, last_telemetry_at: null },
      ...{ created_at: at(), started_at: at(), last_activity_at: at(), closed: false, removing: false },
    });
    assert.deepEqual(
      await columns('backup_disk_id', 'disk_index', 'vmware_disk_key', 'disk_backup_id', 'capacity_bytes', 'status'),
      [
        [1, 0, 2000, 'backup-pgtest1-disk0-20261122-021605', 102 * gib, 'pending'],
        [2, 1, 2001, 'backup-pgtest1-disk1-20261122-021605', 5 * gib, 'pending'],
      ],
    );
  });

  test('shows ports, processes and targets while it has them', async () => {
    const [begun, ...rest] = histories.running;
    await tell(begun as BackupEvent, facts.portsAssigned(10100, 10101), facts.portLost(1, 10101));
    assert.deepEqual(await columns('nbd_port', 'export_status'), [
      [10100, 'port_allocated'],
      [null, 'port_allocated'],
    ]);
    await tell(...rest);
    assert.deepEqual(await columns('nbd_port', 'qemu_nbd_pid', 'export_status'), [
      [10100, 4000, 'qemu_started'],
      [10101, 4001, 'qemu_started'],
    ]);
    assert.match((await job()).nbd_targets ?? '', /^2000:nbd:.*,2001:nbd:/);
    await tell(facts.exportDied(0), facts.exportStopped(1), facts.portsReleased());
    assert.deepEqual(await columns('nbd_port', 'qemu_nbd_pid', 'export_status'), [
      [null, null, 'failed'],
      [null, null, 'stopped'],
    ]);
  });

  test('follows telemetry, job and disks', async () => {
    await tell(...histories.running, progress());
    const { bytes_transferred, total_bytes, progress_percent, transfer_speed_bps, eta_seconds, current_phase } =
      await job();
    assert.deepEqual(
      [bytes_transferred, total_bytes, progress_percent, transfer_speed_bps, eta_seconds, current_phase],
      [gib, 107 * gib, 1.5, 1000, 9, 'transferring'],
    );
    assert.deepEqual([(await job()).last_telemetry_at, (await job()).last_activity_at], [at(10), at(10)]);
    assert.deepEqual(await columns('status', 'bytes_transferred', 'progress_percent'), [
      ['running', gib, 2],
      ['pending', 0, 0],
    ]);
  });

  test('stalls and goes on', async () => {
    await tell(...histories.stalled);
    assert.equal((await job()).status, 'stalled');
    await tell(facts.resumed(80));
    assert.deepEqual([(await job()).status, (await job()).last_activity_at], ['running', at(80)]);
  });

  test('keeps each disk’s change id with that disk', async () => {
    await tell(...histories.running, facts.transferred(0, 7), facts.changeId(1, undefined, 9));
    assert.deepEqual(await columns('status', 'change_id', 'bytes_transferred', 'progress_percent', 'completed_at'), [
      ['transferred', null, 7, 100, null],
      ['completed', changeIds[1], 9, 100, at(36)],
    ]);
    assert.equal((await job()).last_activity_at, at(36));
  });

  test('is completed with its numbers', async () => {
    await tell(...histories.completed);
    const row = await job();
    assert.deepEqual(
      [row.status, row.current_phase, row.progress_percent, row.completed_at, row.closed],
      ['completed', 'completed', 100, at(42), true],
    );
    assert.deepEqual([row.bytes_transferred, row.total_bytes], [3 * gib, 107 * gib]);
    assert.deepEqual(await columns('status', 'image_bytes', 'bytes_transferred', 'completed_at'), [
      ['completed', 2 * gib, 2 * gib, at(36)],
      ['completed', gib, gib, at(36)],
    ]);
  });

  test('shows a disk as completed only with its change id, also when that comes late', async () => {
    await tell(...histories.running, facts.changeId(0), facts.transferred(1), facts.completed(), facts.closed());
    assert.deepEqual(await columns('status', 'change_id'), [
      ['completed', changeIds[0]],
      ['transferred', null],
    ]);
    assert.deepEqual(await queries.open(), []);
    await tell(facts.changeId(1));
    assert.deepEqual(await columns('status', 'change_id'), [
      ['completed', changeIds[0]],
      ['completed', changeIds[1]],
    ]);
    assert.deepEqual([(await job()).status, await queries.open()], ['completed', [backupId]]);
  });

  test('fails with its reason; disks that were complete stay so', async () => {
    await tell(...histories.running, facts.changeId(0), facts.failed('client', 'no space'));
    const row = await job();
    assert.deepEqual(
      [row.status, row.error_message, row.completed_at, row.eta_seconds],
      ['failed', 'no space', at(20), 0],
    );
    assert.deepEqual(await columns('status', 'error_message'), [
      ['completed', null],
      ['failed', 'no space'],
    ]);
  });

  test('is not touched by a report that was under way when the job ended', async () => {
    for (const [ended, id] of [
      [histories.completed, 'completed'],
      [histories.failed, 'failed'],
    ] as const) {
      database = await postgres.fresh();
      tell = createTeller(database.readModel, backupsProjection);
      queries = backupQueries(database.readModel);
      await tell(...ended);
      const before = [await job(), await queries.disks(backupId)];
      await tell(progress({ bytesTransferred: 5, percent: 3 }));
      assert.deepEqual([await job(), await queries.disks(backupId)], before, id);
      assert.deepEqual(await queries.snapshots(backupId), []);
    }
    const late = [facts.changeId(0), facts.transferred(1), facts.completed(), facts.closed()];
    await tell(backupStarted({ backupId: 'b-2', backupContextId: 'c-2', repositoryId: 'r-2' }));
    await tell(...late.map((event) => ({ ...event, data: { ...event.data, backupId: 'b-2' } }) as BackupEvent));
    const before = await queries.disks('b-2');
    await tell(progress({}, { jobId: 'b-2' }));
    assert.deepEqual(await queries.disks('b-2'), before);
  });

  test('keeps the first profile when it is closed again', async () => {
    const profile = {
      ...{ durationSeconds: 62, snapshotsRecorded: 3 },
      ...{ peakSpeedBps: 3, avgSpeedBps: 2, minSpeedBps: 1 },
      chart: [{ t: 0, s: 1, p: 2, phase: 'x' }],
    };
    await tell(...histories.completed.slice(0, -1), facts.closed(profile), facts.closed(null));
    assert.deepEqual((await job()).performance, profile);
    await tell(facts.closed({ ...profile, snapshotsRecorded: 1 }));
    assert.deepEqual((await job()).performance, profile);
  });

  test('is open while its deletion goes on, and goes with it', async () => {
    await tell(...histories.completed, facts.removalRequested());
    assert.deepEqual(await queries.open(), [backupId]);
    await tell(facts.closed());
    assert.deepEqual(await queries.open(), [backupId]);
    await tell(facts.removalFailed());
    assert.deepEqual(
      [await queries.open(), (await job()).error_message],
      [[], 'removal failed: EACCES: permission denied'],
    );
    await tell(facts.removalRequested(), facts.removed());
    assert.deepEqual([await queries.find(backupId), await queries.disks(backupId)], [undefined, []]);
  });
});
