import type { ColumnType, JSONColumnType, Selectable } from 'kysely';
import type { DiskRestoreEvent, RestoreTarget } from '#domain/disk-restore/events.ts';
import type { Projection, ReadModelDb, Tables } from './projection.ts';

export type DiskRestoreTable = {
  restore_id: string;
  backup_id: string;
  vm_name: string;
  disk_index: number;
  size_bytes: ColumnType<number, number | string, number | string>;
  target: JSONColumnType<RestoreTarget>;
  verify: boolean;
  status: 'pending' | 'running' | 'completed' | 'failed' | 'cancelled';
  phase: 'waiting' | 'copying' | 'verifying' | 'finishing' | 'ended';
  progress_percent: number;
  attempts: number;
  cancel_requested: boolean;
  verified: boolean;
  failure_kind: string | null;
  error_message: string | null;
  created_at: string;
  started_at: string | null;
  ended_at: string | null;
};

export type DiskRestoreRow = Selectable<DiskRestoreTable>;

const tables: Tables = {
  disk_restores: [
    `create table disk_restores (
    restore_id text primary key, backup_id text not null, vm_name text not null, disk_index integer not null,
    size_bytes bigint not null, target jsonb not null, verify boolean not null, status text not null,
    phase text not null, progress_percent double precision not null, attempts integer not null,
    cancel_requested boolean not null, verified boolean not null, failure_kind text, error_message text,
    created_at timestamptz not null, started_at timestamptz, ended_at timestamptz)`,
    'create index disk_restores_by_age on disk_restores (created_at desc)',
    `create index disk_restores_open on disk_restores (restore_id) where ended_at is null`,
  ],
};

type Changes = Partial<Omit<DiskRestoreTable, 'restore_id' | 'target' | 'size_bytes'>>;

const change = (db: ReadModelDb, restoreId: string, changes: Changes) =>
  db.updateTable('disk_restores').set(changes).where('restore_id', '=', restoreId);

/** Disks that were written back, are, or will be. */
export const diskRestoresProjection: Projection<DiskRestoreEvent> = {
  name: 'disk-restores.v1',
  tables,
  on: {
    DiskRestoreRequested: ({ data }, db) => [
      db.insertInto('disk_restores').values({
        ...{ restore_id: data.restoreId, backup_id: data.backupId, vm_name: data.vmName, disk_index: data.diskIndex },
        ...{ size_bytes: data.sizeBytes, target: JSON.stringify(data.target), verify: data.verify },
        ...{ status: 'pending', phase: 'waiting', progress_percent: 0, attempts: 0, cancel_requested: false },
        ...{ verified: false, failure_kind: null, error_message: null, created_at: data.at },
        ...{ started_at: null, ended_at: null },
      }),
    ],
    DiskRestoreStarted: ({ data }, db) => [
      change(db, data.restoreId, {
        ...{ status: 'running', phase: 'copying', progress_percent: 0, attempts: data.attempt, started_at: data.at },
      }),
    ],
    DiskRestoreProgressed: ({ data }, db) => [
      change(db, data.restoreId, { phase: data.phase, progress_percent: data.percent }),
    ],
    DiskRestoreCopied: ({ data }, db) => [
      change(db, data.restoreId, { phase: 'finishing', progress_percent: 100, verified: data.verified }),
    ],
    DiskRestoreCompleted: ({ data }, db) => [
      change(db, data.restoreId, { status: 'completed', phase: 'ended', ended_at: data.at }),
    ],
    DiskRestoreFailed: ({ data }, db) => [
      change(db, data.restoreId, {
        ...{ status: 'failed', phase: 'ended', failure_kind: data.kind, error_message: data.reason, ended_at: data.at },
      }),
    ],
    DiskRestoreCancelRequested: ({ data }, db) => [change(db, data.restoreId, { cancel_requested: true })],
    DiskRestoreCancelled: ({ data }, db) => [
      change(db, data.restoreId, { status: 'cancelled', phase: 'ended', ended_at: data.at }),
    ],
  },
};

export const diskRestoreQueries = (db: ReadModelDb) => ({
  find: (restoreId: string): Promise<DiskRestoreRow | undefined> =>
    db.selectFrom('disk_restores').selectAll().where('restore_id', '=', restoreId).executeTakeFirst(),

  /** Newest first. */
  list: (filter: Readonly<{ backupId?: string | undefined; status?: string | undefined; limit: number }>) => {
    let query = db.selectFrom('disk_restores').selectAll();
    if (filter.backupId !== undefined) query = query.where('backup_id', '=', filter.backupId);
    if (filter.status !== undefined) query = query.where('status', '=', filter.status as DiskRestoreTable['status']);
    return query.orderBy('created_at', 'desc').orderBy('restore_id').limit(filter.limit).execute();
  },

  open: async () => {
    const rows = await db
      .selectFrom('disk_restores')
      .select(['restore_id', 'backup_id', 'disk_index', 'target'])
      .where('ended_at', 'is', null)
      .execute();
    return rows.map(({ restore_id: restoreId, backup_id: backupId, disk_index: diskIndex, target }) => ({
      ...{ restoreId, backupId, diskIndex, target },
    }));
  },

  counts: async (): Promise<readonly Readonly<{ status: string; count: number }>[]> => {
    const rows = await db
      .selectFrom('disk_restores')
      .select((eb) => ['status', eb.fn.countAll<number>().as('count')])
      .groupBy('status')
      .execute();
    return rows.map(({ status, count }) => ({ status, count: Number(count) }));
  },
});

export type DiskRestoreQueries = ReturnType<typeof diskRestoreQueries>;
