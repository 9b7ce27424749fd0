import { type ExpressionBuilder, sql } from 'kysely';
import type { BackupEvent, BackupEventOf, TelemetrySummary } from '#domain/backup/events.ts';
import { diskBackupIdOf } from '#domain/backup/ids.ts';
import type { ProgressReported, TelemetryEvent } from '#domain/telemetry/events.ts';
import { backupTables } from './backup-tables.ts';
import {
  type Handler,
  latestOf,
  type Projected,
  type Projection,
  type ReadModelDb,
  type Statement,
} from './projection.ts';
import type { ReadModel } from './read-model.ts';

type On<Type extends BackupEvent['type']> = Projected<BackupEventOf<Type>>;

const job = (db: ReadModelDb, backupId: string, position: bigint) =>
  db.updateTable('backup_jobs').set({ position: position.toString() }).where('backup_id', '=', backupId);

const disk = (db: ReadModelDb, { backupId, diskIndex }: Readonly<{ backupId: string; diskIndex: number }>) =>
  db.updateTable('backup_disks').where('backup_id', '=', backupId).where('disk_index', '=', diskIndex);

const disksOf = (db: ReadModelDb, backupId: string) => db.updateTable('backup_disks').where('backup_id', '=', backupId);

/** What the numbers of disks are counted by. */
export const counter = 'backup_disk_id';

const started = ({ data, position }: On<'BackupStarted'>, db: ReadModelDb): readonly Statement[] => {
  const { backupId, at, disks } = data;
  const numberOf = (place: number) => (eb: ExpressionBuilder<ReadModel, 'backup_disks'>) =>
    eb
      .selectFrom('backup_counters')
      .select(sql<number>`last - ${disks.length} + ${place + 1}`.as('number'))
      .where('name', '=', counter);
  return [
    db.insertInto('backup_jobs').values({
      backup_id: backupId,
      vm_context_id: data.vmContextId,
      vm_name: data.vmName,
      vm_path: data.vmPath,
      backup_context_id: data.backupContextId,
      repository_id: data.repositoryId,
      policy_id: data.policyId,
      backup_type: data.backupType,
      parent_backup_id: data.parentBackupId,
      tags: JSON.stringify(data.tags),
      status: 'running',
      current_phase: 'pending',
      disks_count: disks.length,
      ...{ bytes_transferred: 0, total_bytes: 0, progress_percent: 0, transfer_speed_bps: 0, eta_seconds: 0 },
      ...{ nbd_targets: null, error_message: null, performance: null, completed_at: null, last_telemetry_at: null },
      ...{ created_at: at, started_at: at, last_activity_at: at, closed: false, position: position.toString() },
    }),
    db
      .insertInto('backup_counters')
      .values({ name: counter, last: disks.length })
      .onConflict((conflict) =>
        conflict.column('name').doUpdateSet({ last: sql`backup_counters.last + ${disks.length}` }),
      ),
    db.insertInto('backup_disks').values(
      disks.map((each, place) => ({
        backup_disk_id: numberOf(place) as never,
        backup_id: backupId,
        disk_index: each.index,
        vmware_disk_key: each.key,
        disk_backup_id: diskBackupIdOf(each.imagePath),
        capacity_bytes: each.capacityBytes,
        original_path: each.originalPath,
        qcow2_path: each.imagePath,
        nbd_export_name: each.exportName,
        ...{ nbd_port: null, qemu_nbd_pid: null, export_status: 'port_allocated' as const, status: 'pending' as const },
        ...{ change_id: null, bytes_transferred: 0, total_bytes: 0, progress_percent: 0, image_bytes: 0 },
        ...{ error_message: null, created_at: at, completed_at: null },
      })),
    ),
    db
      .insertInto('vm_backup_contexts')
      .values({
        ...{ backup_context_id: data.backupContextId, vm_context_id: data.vmContextId, vm_name: data.vmName },
        ...{ repository_id: data.repositoryId, total_backups_run: 0, successful_backups: 0, failed_backups: 0 },
        ...{ last_backup_id: null, last_backup_type: null, last_backup_at: null, created_at: at },
      })
      .onConflict((conflict) => conflict.column('backup_context_id').doNothing()),
  ];
};

/** Counters of a VM in a repository follow the end of each job; both ends are final, so each job counts once. */
const countEnd = (
  db: ReadModelDb,
  { backupId, at }: Readonly<{ backupId: string; at: string }>,
  won: boolean,
): Statement =>
  db
    .updateTable('vm_backup_contexts')
    .from('backup_jobs')
    .set({
      total_backups_run: sql`total_backups_run + 1`,
      successful_backups: sql`successful_backups + ${won ? 1 : 0}`,
      failed_backups: sql`failed_backups + ${won ? 0 : 1}`,
      last_backup_id: backupId,
      last_backup_type: sql`backup_jobs.backup_type`,
      last_backup_at: at,
    })
    .whereRef('vm_backup_contexts.backup_context_id', '=', 'backup_jobs.backup_context_id')
    .where('backup_jobs.backup_id', '=', backupId);

const completed = ({ data, position }: On<'BackupCompleted'>, db: ReadModelDb): readonly Statement[] => [
  job(db, data.backupId, position).set({
    status: 'completed',
    current_phase: 'completed',
    ...{ progress_percent: 100, eta_seconds: 0, completed_at: data.at },
    bytes_transferred: data.bytesTransferred,
    total_bytes: data.totalBytes,
  }),
  ...data.disks.map((each) =>
    disk(db, { backupId: data.backupId, diskIndex: each.diskIndex }).set({
      // Without its change id a disk has arrived and no increment can be based on it.
      status: sql`case when change_id is null then 'transferred' else 'completed' end`,
      image_bytes: each.imageBytes,
      bytes_transferred: each.bytesTransferred,
      total_bytes: sql`greatest(total_bytes, ${each.bytesTransferred})`,
      progress_percent: 100,
      completed_at: sql`coalesce(completed_at, ${data.at}::timestamptz)`,
    }),
  ),
  countEnd(db, data, true),
];

const failed = ({ data, position }: On<'BackupFailed'>, db: ReadModelDb): readonly Statement[] => [
  job(db, data.backupId, position).set({
    ...{ status: 'failed', eta_seconds: 0, completed_at: data.at, error_message: data.reason },
  }),
  disksOf(db, data.backupId)
    .set({ status: 'failed', completed_at: data.at, error_message: data.reason })
    .where('status', '!=', 'completed'),
  countEnd(db, data, false),
];

const open = ['running', 'stalled'] as const;

const reported: Handler<ProgressReported> = ({ data, position }, db) => {
  const { jobId, at, progress, status } = data;
  return [
    latestOf(`job ${jobId}`, () =>
      job(db, jobId, position)
        .set({
          current_phase: progress.phase,
          bytes_transferred: progress.bytesTransferred,
          total_bytes: progress.totalBytes,
          progress_percent: progress.percent,
          transfer_speed_bps: progress.speedBps,
          eta_seconds: progress.etaSeconds,
          ...{ last_telemetry_at: at, last_activity_at: at },
        })
        // A report that was under way when the job ended changes nothing any more.
        .where('status', 'in', open),
    ),
    ...progress.disks.map((each) =>
      latestOf(`disk ${jobId} ${each.index}`, () =>
        disk(db, { backupId: jobId, diskIndex: each.index })
          .set({
            bytes_transferred: each.bytesTransferred,
            total_bytes: each.totalBytes,
            progress_percent: each.percent,
            status: each.status === 'transferred' ? 'transferred' : each.status === 'pending' ? 'pending' : 'running',
          })
          .where('status', 'in', ['pending', 'running', 'transferred'])
          .where('backup_id', 'in', db.selectFrom('backup_jobs').select('backup_id').where('status', 'in', open)),
      ),
    ),
    ...(status === 'running' ? [snapshot(db, data)] : []),
  ];
};

/** The first report of a job, then at most one in 30 s. */
const snapshot = (db: ReadModelDb, { jobId, at, progress }: ProgressReported['data']): Statement => {
  const { bytesTransferred, totalBytes, speedBps, percent, phase } = progress;
  const insert = sql`
    insert into job_telemetry_snapshots (job_id, job_type, timestamp, bytes_transferred, total_bytes,
      transfer_speed_bps, progress_percent, current_phase)
    select ${jobId}, 'backup', ${at}::timestamptz, ${bytesTransferred}::bigint, ${totalBytes}::bigint,
      ${speedBps}::bigint, ${percent}::double precision, ${phase}
    where exists (select 1 from backup_jobs where backup_id = ${jobId} and status in ('running', 'stalled'))
      and not exists (select 1 from job_telemetry_snapshots
        where job_id = ${jobId} and timestamp > ${at}::timestamptz - interval '30 seconds')
  `;
  return { compile: () => insert.compile(db) };
};

/**
 * What the last report had left in the rows, once more: the report itself is truncated with the job's end, and whoever
 * builds the tables anew without it comes to the same rows.
 */
const lastReport = (backupId: string, { last, lastAt }: TelemetrySummary, db: ReadModelDb): readonly Statement[] => [
  db
    .updateTable('backup_jobs')
    .set({
      ...{ transfer_speed_bps: last.speedBps, last_telemetry_at: lastAt },
      last_activity_at: sql`greatest(last_activity_at, ${lastAt}::timestamptz)`,
    })
    .where('backup_id', '=', backupId),
  db
    .updateTable('backup_jobs')
    .set({ current_phase: last.phase, bytes_transferred: last.bytesTransferred, total_bytes: last.totalBytes })
    .set({ progress_percent: last.percent })
    .where('backup_id', '=', backupId)
    .where('status', '=', 'failed'),
  ...last.disks.flatMap((each) => {
    const row = disk(db, { backupId, diskIndex: each.index });
    const { bytesTransferred, percent, totalBytes } = each;
    return [
      row.set({ bytes_transferred: bytesTransferred, progress_percent: percent }).where('status', '=', 'failed'),
      // It was complete before the job failed, and the event that said so may have told no bytes.
      row
        .set({ bytes_transferred: sql`greatest(bytes_transferred, ${bytesTransferred})` })
        .where('status', '=', 'completed')
        .where('backup_id', 'in', db.selectFrom('backup_jobs').select('backup_id').where('status', '=', 'failed')),
      // Not what an earlier report had said of a disk that was complete when the last one came: that one is gone.
      row.set({ total_bytes: sql`greatest(bytes_transferred, ${totalBytes})` }),
    ];
  }),
];

const removed = ({ data }: On<'BackupRemoved'>, db: ReadModelDb): readonly Statement[] => [
  db.deleteFrom('backup_disks').where('backup_id', '=', data.backupId),
  db.deleteFrom('job_telemetry_snapshots').where('job_id', '=', data.backupId),
  db.deleteFrom('backup_jobs').where('backup_id', '=', data.backupId),
];

/** Backups and their disks as people see them; progress included. */
export const backupsProjection: Projection<BackupEvent | TelemetryEvent> = {
  name: 'backups.v1',
  tables: backupTables,
  patient: ['ProgressReported'],
  on: {
    BackupStarted: started,
    DiskImageCreated: () => [],
    ExportPortsAssigned: ({ data }, db) =>
      data.ports.map(({ diskIndex, port }) =>
        disk(db, { backupId: data.backupId, diskIndex }).set({ nbd_port: port, export_status: 'port_allocated' }),
      ),
    ExportPortLost: ({ data }, db) => [disk(db, data).set({ nbd_port: null })],
    DiskExportStarted: ({ data }, db) => [
      disk(db, data).set({ qemu_nbd_pid: data.pid, nbd_port: data.port, export_status: 'qemu_started' }),
    ],
    DiskExportDied: ({ data }, db) => [disk(db, data).set({ qemu_nbd_pid: null, export_status: 'failed' })],
    TransferRequested: ({ data, position }, db) => [
      job(db, data.backupId, position).set({ nbd_targets: data.nbdTargets }),
    ],
    TransferAccepted: () => [],
    TransferCancelled: () => [],
    BackupStalled: ({ data, position }, db) => [job(db, data.backupId, position).set({ status: 'stalled' })],
    BackupResumed: ({ data, position }, db) => [
      job(db, data.backupId, position).set({ status: 'running', last_activity_at: data.at }),
    ],
    DiskTransferred: ({ data }, db) => [
      disk(db, data).set({ status: 'transferred', bytes_transferred: data.bytesTransferred, progress_percent: 100 }),
    ],
    DiskChangeIdRecorded: ({ data, position }, db) => [
      job(db, data.backupId, position).set({
        last_activity_at: data.at,
        // After the end there is something to write beside the image.
        closed: sql<boolean>`closed and status <> 'completed'`,
      }),
      disk(db, data).set({
        ...{ status: 'completed', change_id: data.changeId, completed_at: data.at, progress_percent: 100 },
        ...(data.bytesTransferred > 0 ? { bytes_transferred: data.bytesTransferred } : {}),
      }),
    ],
    DiskExportStopped: ({ data }, db) => [
      disk(db, data).set({ qemu_nbd_pid: null, export_status: data.outcome === 'unclean' ? 'failed' : 'stopped' }),
    ],
    ExportPortsReleased: ({ data }, db) => [disksOf(db, data.backupId).set({ nbd_port: null })],
    BackupCompleted: completed,
    BackupFailed: failed,
    DiskImageDeleted: () => [],
    BackupClosed: ({ data, position }, db) => [
      ...(data.telemetry ? lastReport(data.backupId, data.telemetry, db) : []),
      job(db, data.backupId, position).set({
        closed: true,
        // A job may be closed twice (a late change id); its profile is made once.
        ...(data.performance === null
          ? {}
          : { performance: sql`coalesce(performance, ${JSON.stringify(data.performance)}::jsonb)` }),
      }),
      db.deleteFrom('job_telemetry_snapshots').where('job_id', '=', data.backupId),
    ],
    BackupRemovalRequested: ({ data, position }, db) => [job(db, data.backupId, position).set({ removing: true })],
    BackupRemovalFailed: ({ data, position }, db) => [
      job(db, data.backupId, position).set({ removing: false, error_message: `removal failed: ${data.reason}` }),
    ],
    BackupRemoved: removed,
    ProgressReported: reported,
  },
};
