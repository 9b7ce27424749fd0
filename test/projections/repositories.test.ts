import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, test } from 'node:test';
import { pino } from 'pino';
import type { RepositoryEvent } from '#domain/repository/repository.ts';
import type { RepositoryStorageEvent } from '#domain/repository/storage.ts';
import { streamOf } from '#domain/streams.ts';
import { type EmbeddedPostgres, startEmbeddedPostgres } from '#infra/embedded-postgres/embedded-postgres.ts';
import { type Database, openDatabase } from '#infra/postgres/database.ts';
import { backupsProjection } from '#projections/backups.ts';
import { anyProjection } from '#projections/projection.ts';
import { repositoriesProjection, repositoryQueries } from '#projections/repositories.ts';
import { recordBackup } from '../http/routes/repository-hub.ts';
import { applyTo } from '../support/projected.ts';

let folder = '';
let postgres: EmbeddedPostgres;
let database: Database;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sendense-repositories-'));
  const log = pino({ level: 'silent' });
  postgres = await startEmbeddedPostgres({ dataDir: folder, log }, new AbortController().signal);
  database = await openDatabase(postgres.connection, [
    anyProjection(repositoriesProjection),
    anyProjection(backupsProjection),
  ]);
});
after(async () => {
  await database.close();
  await postgres.stop();
  await rm(folder, { recursive: true, force: true });
});
beforeEach(async () => {
  for (const table of ['backup_repositories', 'backup_jobs', 'checkpoints'] as const) {
    await database.readModel.deleteFrom(table).execute();
  }
});

const at = '2026-01-01T00:00:00.000Z';
const later = '2026-01-01T01:00:00.000Z';
const a = 'repo-local-1';
const b = 'repo-local-2';

const added = (repositoryId: string, more: Readonly<{ enabled?: boolean; at?: string }> = {}): RepositoryEvent => ({
  type: 'RepositoryAdded',
  data: {
    ...{ repositoryId, name: `Name of ${repositoryId}`, type: 'local', enabled: true, storageNode: 'hub-1', at },
    config: { path: `/srv/${repositoryId}`, autoMount: false, mountOptions: 'rw', description: 'fast' },
    storage: { totalBytes: 5_000_000_000_000, usedBytes: 40, availableBytes: 60 },
    ...more,
  },
});
const begun = { type: 'RepositoryRemovalBegun', data: { repositoryId: a, at: later } } as const;
const refused = { type: 'RepositoryRemovalRefused', data: { repositoryId: a, backupCount: 1, at: later } } as const;
const removed = { type: 'RepositoryRemoved', data: { repositoryId: a, at: later } } as const;
const measured = (repositoryId: string): RepositoryStorageEvent => ({
  type: 'RepositoryStorageMeasured',
  data: { repositoryId, totalBytes: 10, usedBytes: 1, availableBytes: 9, at: later },
});

type Events = readonly (RepositoryEvent | RepositoryStorageEvent)[];

const batchOf = (...events: Events) => ({
  position: BigInt(events.length),
  events: events.map((event, index) => ({
    ...{ event, id: `event-${index}`, stream: streamOf.repository(event.data.repositoryId), revision: BigInt(index) },
    ...{ position: BigInt(index + 1), recordedAt: event.data.at, metadata: { by: 'user:admin', v: 1 } },
  })),
});
const projections = [anyProjection(repositoriesProjection)];
const apply = async (...events: Events): Promise<void> => {
  await applyTo(database.readModel, projections, batchOf(...events));
};

const rows = () => database.readModel.selectFrom('backup_repositories').selectAll().orderBy('repository_id').execute();
const queries = () => repositoryQueries(database.readModel);

describe('the table of repositories', () => {
  test('holds what was added, with what its test measured', async () => {
    await apply(added(a));
    assert.deepEqual(await rows(), [
      {
        ...{ repository_id: a, name: `Name of ${a}`, type: 'local', enabled: true, removing: false },
        config: { path: `/srv/${a}`, autoMount: false, mountOptions: 'rw', description: 'fast' },
        ...{ is_immutable: false, min_retention_days: 0, created_at: at, updated_at: at },
        ...{ total_bytes: 5_000_000_000_000, used_bytes: 40, available_bytes: 60, last_check_at: at },
      },
    ]);
  });

  test('takes each event once, also when two hubs apply them', async () => {
    await Promise.all([apply(added(a), added(b)), apply(added(a), added(b))]);
    assert.equal((await rows()).length, 2);
  });

  test('follows measurements of its own, and passes over those of a removed one', async () => {
    await apply(added(a), added(b), measured(b), begun, removed, measured(a));
    assert.deepEqual(
      (await rows()).map((row) => [row.repository_id, row.total_bytes, row.last_check_at, row.updated_at]),
      [[b, 10, later, at]],
    );
  });

  test('knows which removals are not settled', async () => {
    await apply(added(a), added(b), begun);
    assert.deepEqual(await queries().removing(), [a]);
    assert.equal((await queries().list()).length, 2);
  });

  test('shows a refused removal as none', async () => {
    await apply(added(a), begun, refused);
    assert.deepEqual(await queries().removing(), []);
  });
});

describe('the list of repositories', () => {
  test('is in the order of addition, and filters by type and state', async () => {
    await apply(added(b), added(a, { at: later, enabled: false }));
    const ids = async (...filter: Parameters<ReturnType<typeof queries>['list']>) =>
      (await queries().list(...filter)).map(({ repositoryId }) => repositoryId);
    assert.deepEqual(await ids(), [b, a]);
    assert.deepEqual(await ids({ enabled: false }), [a]);
    assert.deepEqual(await ids({ enabled: true, type: 'local' }), [b]);
    assert.deepEqual(await ids({ type: 'nfs' }), []);
  });

  test('counts the backups of each, failed ones left out', async () => {
    await apply(added(a), added(b));
    for (const [index, status] of (['running', 'completed', 'completed', 'failed'] as const).entries()) {
      await recordBackup(database, { backupId: `backup-${index}`, repositoryId: a, status });
    }
    const counts = (await queries().list()).map(({ repositoryId, backupCount }) => [repositoryId, backupCount]);
    assert.deepEqual(counts, [
      [a, 3],
      [b, 0],
    ]);
    assert.deepEqual([await queries().countBackups(a), await queries().countBackups(b)], [3, 0]);
  });
});
