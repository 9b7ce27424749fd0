import type { LocalConfig } from '#domain/repository/config.ts';
import type { RepositoryEvent } from '#domain/repository/repository.ts';
import type { RepositoryStorageEvent, StorageMeasured } from '#domain/repository/storage.ts';
import type { Projection, ReadModelDb, Tables } from './projection.ts';

const tables: Tables = {
  backup_repositories: [
    `create table backup_repositories (
    repository_id text primary key, name text not null, type text not null, enabled boolean not null,
    config jsonb not null, is_immutable boolean not null, min_retention_days integer not null, removing boolean not null,
    created_at timestamptz not null, updated_at timestamptz not null, total_bytes bigint, used_bytes bigint,
    available_bytes bigint, last_check_at timestamptz)`,
  ],
};

/** Where backups may go, and how full each was when it was last measured. */
export const repositoriesProjection: Projection<RepositoryEvent | RepositoryStorageEvent> = {
  name: 'repositories.v1',
  tables,
  on: {
    RepositoryAdded: ({ data }, db) => [
      db.insertInto('backup_repositories').values({
        ...{ repository_id: data.repositoryId, name: data.name, type: data.type, enabled: data.enabled },
        ...{ config: JSON.stringify(data.config), is_immutable: false, min_retention_days: 0, removing: false },
        ...{ created_at: data.at, updated_at: data.at, last_check_at: data.at },
        ...{ total_bytes: data.storage.totalBytes, used_bytes: data.storage.usedBytes },
        available_bytes: data.storage.availableBytes,
      }),
    ],
    RepositoryRemovalBegun: ({ data }, db) => [setRemoving(db, data.repositoryId, true)],
    RepositoryRemovalRefused: ({ data }, db) => [setRemoving(db, data.repositoryId, false)],
    RepositoryRemoved: ({ data }, db) => [
      db.deleteFrom('backup_repositories').where('repository_id', '=', data.repositoryId),
    ],
    RepositoryStorageMeasured: ({ data }, db) => [
      db
        .updateTable('backup_repositories')
        .set({ total_bytes: data.totalBytes, used_bytes: data.usedBytes, available_bytes: data.availableBytes })
        .set({ last_check_at: data.at })
        .where('repository_id', '=', data.repositoryId),
    ],
  },
};

const setRemoving = (db: ReadModelDb, repositoryId: string, removing: boolean) =>
  db.updateTable('backup_repositories').set({ removing }).where('repository_id', '=', repositoryId);

export type ListedRepository = Readonly<{
  repositoryId: string;
  name: string;
  type: string;
  enabled: boolean;
  /** Root of the images. */
  path: string;
  config: LocalConfig;
  createdAt: string;
  updatedAt: string;
  /** As `countBackups` tells it. */
  backupCount: number;
}>;

export type RepositoryFilter = Readonly<{ type?: string | undefined; enabled?: boolean | undefined }>;

/** Failed backups leave no files, so they neither count nor keep a repository. */
const backupsIn = (db: ReadModelDb) => db.selectFrom('backup_jobs').where('status', '<>', 'failed');

export const repositoryQueries = (db: ReadModelDb) => ({
  /** Oldest first, disabled ones too. */
  list: async ({ type, enabled }: RepositoryFilter = {}): Promise<readonly ListedRepository[]> => {
    let query = db
      .selectFrom('backup_repositories')
      .leftJoin(
        backupsIn(db)
          .groupBy('repository_id')
          .select(({ fn }) => ['repository_id as counted_id', fn.countAll<number>().as('backup_count')])
          .as('counted'),
        'counted_id',
        'repository_id',
      )
      .select(['repository_id', 'name', 'type', 'enabled', 'config', 'created_at', 'updated_at', 'backup_count'])
      .orderBy('created_at')
      .orderBy('repository_id');
    if (type !== undefined) query = query.where('type', '=', type);
    if (enabled !== undefined) query = query.where('enabled', '=', enabled);
    const rows = await query.execute();
    return rows.map((row) => ({
      ...{ repositoryId: row.repository_id, name: row.name, type: row.type, enabled: row.enabled },
      ...{ path: row.config.path, config: row.config, createdAt: row.created_at, updatedAt: row.updated_at },
      backupCount: row.backup_count ?? 0,
    }));
  },

  /** Backups recorded there, running ones included, failed ones left out. */
  countBackups: async (repositoryId: string): Promise<number> => {
    const { count } = await backupsIn(db)
      .where('repository_id', '=', repositoryId)
      .select(({ fn }) => fn.countAll<number>().as('count'))
      .executeTakeFirstOrThrow();
    return count;
  },

  /** As it was measured last; undefined for one that is unknown. */
  storageOf: async (repositoryId: string): Promise<StorageMeasured | undefined> => {
    const row = await db
      .selectFrom('backup_repositories')
      .select(['total_bytes', 'used_bytes', 'available_bytes', 'last_check_at'])
      .where('repository_id', '=', repositoryId)
      .executeTakeFirst();
    if (!row?.last_check_at) return undefined;
    const space = { totalBytes: row.total_bytes ?? 0, usedBytes: row.used_bytes ?? 0 };
    return { repositoryId, ...space, availableBytes: row.available_bytes ?? 0, at: row.last_check_at };
  },

  /** Ids of repositories whose removal has begun and was not settled. */
  removing: async (): Promise<readonly string[]> => {
    const rows = await db
      .selectFrom('backup_repositories')
      .where('removing', '=', true)
      .select('repository_id')
      .execute();
    return rows.map((row) => row.repository_id);
  },
});

export type RepositoryQueries = ReturnType<typeof repositoryQueries>;
