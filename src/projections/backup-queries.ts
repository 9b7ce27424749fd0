import { type Selectable, sql } from 'kysely';
import type { ReadModelDb } from './projection.ts';
import type { BackupDiskTable, BackupJobTable, TelemetrySnapshotTable } from './read-model.ts';

export type BackupRow = Selectable<BackupJobTable>;
export type BackupDiskRow = Selectable<BackupDiskTable>;
export type SnapshotRow = Selectable<TelemetrySnapshotTable>;

export type BackupFilter = Readonly<{
  vmName?: string | undefined;
  vmContextId?: string | undefined;
  repositoryId?: string | undefined;
  backupType?: string | undefined;
  status?: string | undefined;
}>;

export type BackupStats = Readonly<{ count: number; bytes: number; lastAt: string | null }>;

export type BackupQueries = ReturnType<typeof backupQueries>;

/** The newest completed full backup of a disk and its increments, oldest first; walks the parents in the database. */
const chainOf = (db: ReadModelDb, place: Readonly<{ vmContextId: string; repositoryId: string; diskIndex: number }>) =>
  sql<BackupRow>`
    with recursive head as (
      select job.* from backup_jobs job
      join backup_disks disk on disk.backup_id = job.backup_id and disk.disk_index = ${place.diskIndex}
      where job.vm_context_id = ${place.vmContextId} and job.repository_id = ${place.repositoryId}
        and job.status = 'completed'
      order by job.completed_at desc, job.backup_id desc limit 1
    ), chain as (
      select head.*, 1 as depth from head
      union all
      select parent.*, chain.depth + 1 from backup_jobs parent
      join chain on parent.backup_id = chain.parent_backup_id
    )
    select * from chain order by depth desc
  `.execute(db);

/** What is asked about backups; every answer is read at once, none is built up from many queries. */
export const backupQueries = (db: ReadModelDb) => ({
  /** Newest first; all filters together. */
  list: (filter: BackupFilter): Promise<readonly BackupRow[]> => {
    const { vmName, vmContextId, repositoryId, backupType, status } = filter;
    let query = db.selectFrom('backup_jobs').selectAll();
    if (vmName !== undefined) query = query.where('vm_name', '=', vmName);
    if (vmContextId !== undefined) query = query.where('vm_context_id', '=', vmContextId);
    if (repositoryId !== undefined) query = query.where('repository_id', '=', repositoryId);
    if (backupType !== undefined) query = query.where(sql<string>`backup_type`, '=', backupType);
    if (status !== undefined) query = query.where(sql<string>`status`, '=', status);
    return query.orderBy('created_at', 'desc').orderBy('backup_id', 'desc').execute();
  },

  find: (backupId: string): Promise<BackupRow | undefined> =>
    db.selectFrom('backup_jobs').selectAll().where('backup_id', '=', backupId).executeTakeFirst(),

  disks: (backupId: string): Promise<readonly BackupDiskRow[]> =>
    db.selectFrom('backup_disks').selectAll().where('backup_id', '=', backupId).orderBy('disk_index').execute(),

  jobOfDisk: async (diskBackupId: string) => {
    const row = await db
      .selectFrom('backup_disks')
      .select(['backup_id', 'disk_index'])
      .where('disk_backup_id', '=', diskBackupId)
      .executeTakeFirst();
    return row ? { backupId: row.backup_id, diskIndex: row.disk_index } : undefined;
  },

  /** Jobs whose process manager still owes something. */
  open: async (): Promise<readonly string[]> => {
    const rows = await db
      .selectFrom('backup_jobs')
      .select('backup_id')
      .where((eb) => eb.or([eb('closed', '=', false), eb('removing', '=', true)]))
      .execute();
    return rows.map((row) => row.backup_id);
  },

  running: async () => {
    const rows = await db
      .selectFrom('backup_jobs')
      .select(['backup_id', 'status', 'last_activity_at', 'last_telemetry_at'])
      .where('status', 'in', ['running', 'stalled'])
      .execute();
    return rows.map((row) => ({
      backupId: row.backup_id,
      status: row.status as 'running' | 'stalled',
      lastActivityAt: row.last_activity_at,
      heard: row.last_telemetry_at !== null,
    }));
  },

  /** Backups recorded in a repository, whatever became of them, as long as they hold or may come to hold files. */
  countIn: async (repositoryId: string): Promise<number> => {
    const { count } = await db
      .selectFrom('backup_jobs')
      .select((eb) => eb.fn.countAll<number>().as('count'))
      .where('repository_id', '=', repositoryId)
      .where((eb) => eb.or([eb('status', '!=', 'failed'), eb('closed', '=', false)]))
      .executeTakeFirstOrThrow();
    return Number(count);
  },

  stats: async (vmName: string, repositoryId: string): Promise<BackupStats> => {
    const row = await db
      .selectFrom('backup_jobs')
      .select((eb) => [
        eb.fn.countAll<number>().as('count'),
        eb.fn.coalesce(eb.fn.sum<number>('bytes_transferred'), sql<number>`0`).as('bytes'),
        eb.fn.max('completed_at').as('last_at'),
      ])
      .where('vm_name', '=', vmName)
      .where('repository_id', '=', repositoryId)
      .where('status', '=', 'completed')
      .executeTakeFirstOrThrow();
    return { count: Number(row.count), bytes: Number(row.bytes), lastAt: row.last_at };
  },

  /** The repository of a VM's newest completed backup. */
  newestRepository: async (vmContextId: string): Promise<string | undefined> => {
    const row = await db
      .selectFrom('backup_jobs')
      .select('repository_id')
      .where('vm_context_id', '=', vmContextId)
      .where('status', '=', 'completed')
      .orderBy('completed_at', 'desc')
      .limit(1)
      .executeTakeFirst();
    return row?.repository_id;
  },

  chain: async (place: Readonly<{ vmContextId: string; repositoryId: string; diskIndex: number }>) =>
    (await chainOf(db, place)).rows,

  snapshots: (jobId: string): Promise<readonly SnapshotRow[]> =>
    db.selectFrom('job_telemetry_snapshots').selectAll().where('job_id', '=', jobId).orderBy('timestamp').execute(),
});
