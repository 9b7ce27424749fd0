import { sql } from 'kysely';
import type { BackupEventOf } from '#domain/backup/events.ts';
import type { VmContextEvent } from '#domain/vm-context/vm-context.ts';
import type { Projection, ReadModelDb } from './projection.ts';

/** Every backup there ever was, deleted ones included: what a question about the past has to read. */
export type HistoryJobTable = {
  backup_id: string;
  vm_context_id: string;
  started_position: string;
  /** When its telemetry was truncated; null while it runs. */
  closed_position: string | null;
  /** Disks are numbered through all backups; this one's begin here and the next one's at `next_disk`. */
  first_disk: number;
  next_disk: number;
};

/** Every VM that was ever managed. */
export type HistoryVmTable = { context_id: string; added_position: string };

type Told =
  | BackupEventOf<'BackupStarted'>
  | BackupEventOf<'BackupClosed'>
  | Extract<VmContextEvent, Readonly<{ type: 'VmAdded' }>>;

const firstFree = sql<number>`coalesce((select max(next_disk) from history_jobs), 1)`;

export const historyIndexProjection: Projection<Told> = {
  name: 'history-index.v1',
  tables: {
    history_jobs: [
      `create table history_jobs (
        backup_id text primary key, vm_context_id text not null, started_position numeric(20) not null,
        closed_position numeric(20), first_disk bigint not null, next_disk bigint not null)`,
      'create index history_jobs_by_vm on history_jobs (vm_context_id, started_position)',
      'create index history_jobs_by_disk on history_jobs (next_disk)',
    ],
    history_vms: ['create table history_vms (context_id text primary key, added_position numeric(20) not null)'],
  },
  on: {
    BackupStarted: ({ data, position }, db) => [
      db.insertInto('history_jobs').values({
        ...{ backup_id: data.backupId, vm_context_id: data.vmContextId, started_position: position.toString() },
        ...{
          closed_position: null,
          first_disk: firstFree,
          next_disk: sql<number>`${firstFree} + ${data.disks.length}`,
        },
      }),
    ],
    BackupClosed: ({ data, position }, db) => [
      db
        .updateTable('history_jobs')
        .set({ closed_position: position.toString() })
        .where('backup_id', '=', data.backupId)
        .where('closed_position', 'is', null),
    ],
    VmAdded: ({ data, position }, db) => [
      db.insertInto('history_vms').values({ context_id: data.contextId, added_position: position.toString() }),
    ],
  },
};

export type HistoryJob = HistoryJobTable;

export const historyIndexQueries = (db: ReadModelDb) => {
  const jobsUpTo = (position: bigint) =>
    db
      .selectFrom('history_jobs')
      .selectAll()
      .where('started_position', '<=', position.toString())
      .orderBy('started_position');
  return {
    job: (backupId: string, position: bigint): Promise<HistoryJob | undefined> =>
      jobsUpTo(position).where('backup_id', '=', backupId).executeTakeFirst(),
    jobsOf: (contextIds: readonly string[], position: bigint): Promise<readonly HistoryJob[]> =>
      contextIds.length === 0
        ? Promise.resolve([])
        : jobsUpTo(position).where('vm_context_id', 'in', contextIds).execute(),
    /** Jobs that had begun and were not closed at that position. */
    openAt: (position: bigint): Promise<readonly HistoryJob[]> =>
      jobsUpTo(position)
        .where((eb) => eb.or([eb('closed_position', 'is', null), eb('closed_position', '>', position.toString())]))
        .execute(),
    vmsAt: async (position: bigint): Promise<readonly string[]> => {
      const rows = await db
        .selectFrom('history_vms')
        .select('context_id')
        .where('added_position', '<=', position.toString())
        .orderBy('added_position')
        .execute();
      return rows.map((row) => row.context_id);
    },
  };
};

export type HistoryIndexQueries = ReturnType<typeof historyIndexQueries>;
