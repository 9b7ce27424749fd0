import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import type { Insertable } from 'kysely';
import { backupMetrics } from '#infra/metrics/backup-metrics.ts';
import { addReadModelMetrics } from '#infra/metrics/read-model-metrics.ts';
import { createMetrics, type Metrics } from '#infra/metrics/registry.ts';
import type { Database } from '#infra/postgres/database.ts';
import type { BackupJobTable } from '#projections/read-model.ts';
import { at, facts } from '../../support/backup-facts.ts';
import { startPostgres, type TestPostgres } from '../../support/postgres.ts';

let postgres: TestPostgres;
let database: Database;
let metrics: Metrics;

before(async () => {
  postgres = await startPostgres();
});
after(() => postgres.stop());
beforeEach(async () => {
  database = await postgres.fresh();
  metrics = createMetrics({ log: { warn: () => undefined }, version: '1' });
});

type Job = Partial<Insertable<BackupJobTable>> & Readonly<{ vm: string; seconds: number }>;

const insertJob = async ({ vm, seconds, ...over }: Job): Promise<void> => {
  await database.readModel
    .insertInto('backup_jobs')
    .values({
      ...{ backup_id: `backup-${vm}-${seconds}`, vm_context_id: `ctx-${vm}`, vm_name: vm, vm_path: `/lab/${vm}` },
      ...{ backup_context_id: `history-${vm}`, repository_id: 'repo-1', policy_id: null, parent_backup_id: null },
      ...{ backup_type: 'incremental', tags: '{}', status: 'completed', current_phase: 'completed', disks_count: 1 },
      ...{ bytes_transferred: 1_000, total_bytes: 1_000, progress_percent: 100, transfer_speed_bps: 0 },
      ...{ eta_seconds: 0, nbd_targets: null, error_message: null, performance: null, created_at: at(seconds) },
      ...{ started_at: at(seconds), completed_at: at(seconds + 60), last_telemetry_at: null },
      ...{ last_activity_at: at(seconds + 60), closed: true, position: '1' },
      ...over,
    })
    .execute();
};

const insertHistory = async (vm: string): Promise<void> => {
  await database.readModel
    .insertInto('vm_backup_contexts')
    .values({
      ...{ backup_context_id: `history-${vm}`, vm_context_id: `ctx-${vm}`, vm_name: vm, repository_id: 'repo-1' },
      ...{ total_backups_run: 1, successful_backups: 0, failed_backups: 0, last_backup_id: null },
      ...{ last_backup_type: null, last_backup_at: null, created_at: at() },
    })
    .execute();
};

const scraped = async (): Promise<readonly string[]> => (await metrics.render('prometheus')).split('\n');
const family = async (name: string): Promise<readonly string[]> =>
  (await scraped()).filter((line) => line.startsWith(name) && !line.startsWith('#'));

const addReadModel = (): void =>
  addReadModelMetrics(metrics, { db: database.readModel, storageNode: 'hub-1', portCapacity: 101 });

describe('the numbers of the read model', () => {
  test('are there on an empty database, as zeroes or not at all', async () => {
    addReadModel();
    const lines = await scraped();
    for (const line of [
      'sendense_database_up 1',
      'sendense_backup_jobs{type="full",state="failed"} 0',
      'sendense_process_manager_unfinished_jobs{process_manager="backup-runner"} 0',
      'sendense_process_manager_oldest_unfinished_job_age_seconds{process_manager="backup-runner"} 0',
      'sendense_nbd_ports_used 0',
      'sendense_nbd_ports_capacity 101',
      'sendense_backup_vms_omitted 0',
      'sendense_scrape_error{source="read-model"} 0',
    ]) {
      assert.ok(lines.includes(line), line);
    }
  });

  test('count jobs by type and state, and tell what is unfinished since when', async () => {
    addReadModel();
    await insertJob({ vm: 'a', seconds: 0 });
    await insertJob({ vm: 'a', seconds: 1, status: 'failed', backup_type: 'full' });
    const hourAgo = new Date(Date.now() - 3_600_000).toISOString();
    await insertJob({ vm: 'a', seconds: 2, status: 'running', closed: false, created_at: hourAgo });
    const lines = await scraped();
    assert.ok(lines.includes('sendense_backup_jobs{type="incremental",state="completed"} 1'));
    assert.ok(lines.includes('sendense_backup_jobs{type="full",state="failed"} 1'));
    assert.ok(lines.includes('sendense_process_manager_unfinished_jobs{process_manager="backup-runner"} 1'));
    const [age] = await family('sendense_process_manager_oldest_unfinished_job_age_seconds');
    assert.ok(Math.abs(Number(age?.split(' ').at(-1)) - 3_600) < 30, age);
  });

  test('tell for each VM when it was last backed up, and zero where every backup failed', async () => {
    addReadModel();
    for (const vm of ['well', 'never']) await insertHistory(vm);
    await insertJob({ vm: 'well', seconds: 0 });
    await insertJob({ vm: 'well', seconds: 1_000 });
    await insertJob({ vm: 'well', seconds: 2_000, status: 'failed' });
    await insertJob({ vm: 'never', seconds: 0, status: 'failed' });
    assert.deepEqual(await family('sendense_backup_last_success_timestamp_seconds'), [
      'sendense_backup_last_success_timestamp_seconds{vm_context_id="ctx-never",vm_name="never"} 0',
      `sendense_backup_last_success_timestamp_seconds{vm_context_id="ctx-well",vm_name="well"} ${Date.parse(at(1_060)) / 1000}`,
    ]);
  });

  test('compare the size of the last backup with those before it, of the same type', async () => {
    addReadModel();
    await insertHistory('a');
    await insertJob({ vm: 'a', seconds: 0, backup_type: 'full', bytes_transferred: 90_000 });
    await insertJob({ vm: 'a', seconds: 1, bytes_transferred: 1_000 });
    await insertJob({ vm: 'a', seconds: 2, bytes_transferred: 3_000 });
    await insertJob({ vm: 'a', seconds: 3, bytes_transferred: 10_000 });
    const labels = (type: string) => `{vm_context_id="ctx-a",vm_name="a",type="${type}"}`;
    assert.deepEqual((await family('sendense_backup_last_size_bytes')).toSorted(), [
      `sendense_backup_last_size_bytes${labels('full')} 90000`,
      `sendense_backup_last_size_bytes${labels('incremental')} 10000`,
    ]);
    assert.deepEqual(await family('sendense_backup_size_change_ratio'), [
      `sendense_backup_size_change_ratio${labels('incremental')} 5`,
    ]);
  });

  test('show a thousand VMs, those in need first, and say how many they leave out', async () => {
    addReadModel();
    for (let index = 0; index < 1_003; index += 1) await insertHistory(`vm-${index}`);
    for (const index of [5, 6, 7]) await insertJob({ vm: `vm-${index}`, seconds: index });
    const shown = await family('sendense_backup_last_success_timestamp_seconds');
    assert.equal(shown.length, 1_000);
    assert.ok(
      shown.every((line) => line.endsWith(' 0')),
      'the three that are well are left out',
    );
    assert.deepEqual(await family('sendense_backup_vms_omitted'), ['sendense_backup_vms_omitted 3']);
  });

  test('are gone when the database is, which is itself a number', async () => {
    addReadModel();
    await insertHistory('a');
    assert.equal((await family('sendense_backup_last_success_timestamp_seconds')).length, 1);
    await database.pool.query('drop table backup_jobs');
    const lines = await scraped();
    assert.ok(lines.includes('sendense_database_up 0'));
    assert.ok(lines.includes('sendense_scrape_error{source="read-model"} 1'));
    assert.deepEqual(await family('sendense_backup_last_success_timestamp_seconds'), []);
    assert.deepEqual(await family('sendense_nbd_ports_capacity'), []);
  });
});

describe('backups that end', () => {
  const recorded = (event: ReturnType<typeof facts.completed>, recordedAt: string) => ({
    ...{ event, id: 'e', stream: 's', revision: 0n, position: 1n, recordedAt },
    metadata: { by: 'system', v: 1 },
  });

  test('are counted with their duration and bytes, but not what is told anew of the past', async () => {
    const ended = facts.completed();
    await insertJob({
      vm: 'x',
      seconds: 0,
      backup_id: ended.data.backupId,
      created_at: at(),
      bytes_transferred: 5_000,
    });
    const { take } = backupMetrics(metrics, database.readModel, at(1_000));
    await take(recorded(ended, at(999)));
    assert.ok((await scraped()).includes('sendense_backups_finished_total{type="incremental",outcome="completed"} 0'));
    await take(recorded(ended, at(1_001)));
    const lines = await scraped();
    assert.ok(lines.includes('sendense_backups_finished_total{type="incremental",outcome="completed"} 1'));
    assert.ok(lines.includes('sendense_backup_transferred_bytes_total{type="incremental"} 5000'));
    const seconds = (Date.parse(ended.data.at) - Date.parse(at())) / 1000;
    assert.ok(
      lines.includes(`sendense_backup_duration_seconds_sum{type="incremental",outcome="completed"} ${seconds}`),
    );
  });
});
