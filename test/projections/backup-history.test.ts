import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { BackupEvent } from '#domain/backup/events.ts';
import type { ProgressReported } from '#domain/telemetry/events.ts';
import type { Database } from '#infra/postgres/database.ts';
import { type BackupQueries, backupQueries } from '#projections/backup-queries.ts';
import { backupsProjection } from '#projections/backups.ts';
import { anyProjection } from '#projections/projection.ts';
import {
  at,
  backupDisk,
  backupId,
  backupStarted,
  facts,
  gib,
  histories,
  imagePath,
  progress,
  type Reported,
} from '../support/backup-facts.ts';
import { eachWithDatabase, type TestPostgres } from '../support/postgres.ts';
import { applyTo, createTeller, logOf } from '../support/projected.ts';

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

describe('samples of a transfer', () => {
  const times = async () => (await queries.snapshots(backupId)).map(({ timestamp }) => timestamp);
  const reportedAt = (seconds: number, status: Reported['status'] = 'running') =>
    progress({}, { at: at(seconds), status });

  test('are the first report and then at most one in 30 s', async () => {
    await tell(...histories.running);
    for (const seconds of [10, 15, 39, 40, 45, 69, 70.5, 300]) await tell(reportedAt(seconds));
    assert.deepEqual(await times(), [at(10), at(40), at(70.5), at(300)]);
    const [first] = await queries.snapshots(backupId);
    assert.deepEqual(
      [first?.bytes_transferred, first?.transfer_speed_bps, first?.progress_percent, first?.current_phase],
      [gib, 1000, 1.5, 'transferring'],
    );
  });
  test('are taken of running reports only, and of each job for itself', async () => {
    await tell(...histories.running, reportedAt(10, 'completed'), reportedAt(11, 'stalled'));
    assert.deepEqual(await times(), []);
    await tell(
      backupStarted({ backupId: 'b-2', backupContextId: 'c-2', repositoryId: 'r-2' }),
      progress({}, { jobId: 'b-2', at: at(12) }),
      reportedAt(13),
    );
    assert.deepEqual(await times(), [at(13)]);
  });
  test('go when the job is closed', async () => {
    await tell(...histories.running, reportedAt(10), facts.failed(), facts.closed());
    assert.deepEqual(await times(), []);
  });
});

describe('the history of a VM in a repository', () => {
  const contexts = () =>
    database.readModel.selectFrom('vm_backup_contexts').selectAll().orderBy('backup_context_id').execute();

  test('counts every end once, and remembers the last', async () => {
    const again = (id: string, ...events: readonly BackupEvent[]) => [
      backupStarted({ backupId: id, backupType: 'incremental' }),
      ...events.map((event) => ({ ...event, data: { ...event.data, backupId: id } }) as BackupEvent),
    ];
    await tell(...histories.completed, facts.changeId(0), facts.closed(), ...again('b-2', facts.failed()));
    const [context, ...others] = await contexts();
    assert.deepEqual(others, []);
    assert.deepEqual(context, {
      ...{ backup_context_id: 'ctx-backup-pgtest1-1795313765', vm_context_id: 'ctx-pgtest1-20261006-203401' },
      ...{ vm_name: 'pgtest1', repository_id: 'repo-local-1760055634', total_backups_run: 2, successful_backups: 1 },
      ...{ failed_backups: 1, last_backup_id: 'b-2', last_backup_type: 'incremental', last_backup_at: at(20) },
      created_at: at(),
    });
  });
});

const dump = async ({ readModel }: Database) => ({
  jobs: await readModel.selectFrom('backup_jobs').selectAll().orderBy('backup_id').execute(),
  disks: await readModel.selectFrom('backup_disks').selectAll().orderBy('backup_disk_id').execute(),
  contexts: await readModel.selectFrom('vm_backup_contexts').selectAll().orderBy('backup_context_id').execute(),
  snapshots: await readModel.selectFrom('job_telemetry_snapshots').selectAll().orderBy('timestamp').execute(),
});

const applyAtOnce = async (events: readonly (BackupEvent | ProgressReported)[]): Promise<Database> => {
  const rebuilt = await postgres.fresh();
  const log = logOf(events);
  const batch = { events: log, position: BigInt(log.length) };
  await applyTo(rebuilt.readModel, [anyProjection(backupsProjection)], batch);
  return rebuilt;
};

describe('a rebuild', () => {
  const story: readonly (BackupEvent | ProgressReported)[] = [
    ...histories.running,
    progress(),
    backupStarted({
      backupId: 'b-2',
      backupContextId: 'c-2',
      repositoryId: 'r-2',
      disks: [backupDisk(0, { imagePath: imagePath(0, 'x') })],
    }),
    progress({ percent: 7 }, { at: at(50) }),
    ...[facts.changeId(0), facts.changeId(1), facts.completed()],
    { ...facts.failed(), data: { ...facts.failed().data, backupId: 'b-2' } },
    backupStarted({ backupId: 'b-3', backupType: 'incremental', parentBackupId: backupId }),
  ];
  test('from the first event gives the same rows, in one batch or one by one, numbers included', async () => {
    await tell(...story);
    const live = await dump(database);
    assert.deepEqual(
      live.disks.map(({ backup_disk_id: id, backup_id: of }) => [id, of]),
      [
        [1, backupId],
        [2, backupId],
        [3, 'b-2'],
        [4, 'b-3'],
        [5, 'b-3'],
      ],
    );
    assert.deepEqual(await dump(await applyAtOnce(story)), live);
  });

  const jobIds = [backupId, 'b-2'];
  const second = fc.integer({ min: 10, max: 100 });
  const report = fc
    .record({ jobId: fc.constantFrom(...jobIds), seconds: second, percent: fc.integer({ min: 0, max: 100 }) })
    .map(({ jobId, seconds, percent }) =>
      progress({ percent, bytesTransferred: percent * gib }, { jobId, at: at(seconds) }),
    );
  const between = fc
    .record({
      jobId: fc.constantFrom(...jobIds),
      event: fc.constantFrom(
        facts.transferred(0),
        facts.transferred(1),
        facts.stalled(),
        facts.resumed(),
        facts.failed(),
      ),
    })
    .map(({ jobId, event }) => ({ ...event, data: { ...event.data, backupId: jobId } }) as BackupEvent);

  test('of floods of reports, whatever happens between them, gives the same rows', async () => {
    const begun = [
      ...histories.running,
      backupStarted({ backupId: 'b-2', backupContextId: 'c-2', repositoryId: 'r-2' }),
    ];
    const floods = fc.array(fc.oneof({ arbitrary: report, weight: 5 }, between), { minLength: 5, maxLength: 40 });
    for (const flood of fc.sample(floods, 8)) {
      const events = [...begun, ...flood];
      database = await postgres.fresh();
      await createTeller(database.readModel, backupsProjection)(...events);
      const live = await dump(database);
      assert.deepEqual(await dump(await applyAtOnce(events)), live, JSON.stringify(flood));
    }
  });
});
