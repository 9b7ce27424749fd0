import { z } from 'zod';
import type { Performance } from '#domain/backup/events.ts';
import type { BackupDiskRow, BackupRow } from '#projections/backup-queries.ts';

/** RFC 3339 in whole seconds, UTC: what the clients of this part of the API parse. */
export const seconds = (at: string): string => at.replace(/\.\d+Z$/, 'Z');

const secondsOrNull = (at: string | null): string | null => (at === null ? null : seconds(at));

const mib = 1024 ** 2;

export const DiskResult = z
  .object({
    disk_id: z.int(),
    nbd_port: z.int().nullable(),
    nbd_export_name: z.string(),
    qcow2_path: z.string(),
    qemu_nbd_pid: z.int().nullable(),
    status: z.string(),
    error_message: z.string().optional(),
    vmware_disk_key: z.int().optional(),
    bytes_transferred: z.int().optional(),
    total_bytes: z.int().optional(),
    progress_percent: z.number().optional(),
    change_id: z.string().nullable().optional(),
    backup_disk_id: z.int().optional(),
  })
  .meta({ id: 'BackupDiskResult' });

const ChartPoint = z.object({ t: z.int(), s: z.int(), p: z.number(), phase: z.string() });

export const PerformanceMetrics = z
  .object({
    duration_seconds: z.int(),
    snapshots_recorded: z.int(),
    peak_speed_bps: z.int(),
    avg_speed_bps: z.int(),
    min_speed_bps: z.int(),
    peak_speed_mbps: z.number(),
    avg_speed_mbps: z.number(),
    chart_data: z.array(ChartPoint),
  })
  .meta({ id: 'PerformanceMetrics' });

export const BackupResponse = z
  .object({
    backup_id: z.string(),
    vm_context_id: z.string(),
    vm_name: z.string(),
    backup_type: z.enum(['full', 'incremental']),
    type: z.enum(['full', 'incremental']).meta({ description: 'The same as backup_type' }),
    repository_id: z.string(),
    policy_id: z.string().optional(),
    status: z.enum(['started', 'running', 'stalled', 'completed', 'failed']),
    bytes_transferred: z.int(),
    total_bytes: z.int(),
    disks_count: z.int(),
    current_phase: z.string(),
    progress_percent: z.number(),
    transfer_speed_bps: z.int(),
    eta_seconds: z.int(),
    last_telemetry_at: z.string().nullable(),
    started_at: z.string(),
    completed_at: z.string().nullable(),
    created_at: z.string(),
    error_message: z.string().nullable(),
    tags: z.record(z.string(), z.string()).optional(),
    disk_results: z.array(DiskResult).optional(),
    nbd_targets_string: z.string().optional(),
    performance_metrics: PerformanceMetrics.optional(),
  })
  .meta({ id: 'Backup' });

type Wire = z.input<typeof BackupResponse>;

const isEnded = (row: BackupRow): boolean => row.status === 'completed' || row.status === 'failed';

/** As lists show it: without disks. */
export const backupToWire = (row: BackupRow): Wire => ({
  backup_id: row.backup_id,
  vm_context_id: row.vm_context_id,
  vm_name: row.vm_name,
  backup_type: row.backup_type,
  type: row.backup_type,
  repository_id: row.repository_id,
  ...(row.policy_id === null ? {} : { policy_id: row.policy_id }),
  status: row.status,
  bytes_transferred: row.bytes_transferred,
  total_bytes: row.total_bytes,
  disks_count: row.disks_count,
  current_phase: row.current_phase,
  progress_percent: row.progress_percent,
  transfer_speed_bps: row.transfer_speed_bps,
  eta_seconds: row.eta_seconds,
  last_telemetry_at: secondsOrNull(row.last_telemetry_at),
  started_at: seconds(row.started_at),
  completed_at: secondsOrNull(row.completed_at),
  created_at: seconds(row.created_at),
  error_message: row.error_message,
  ...(Object.keys(row.tags).length === 0 ? {} : { tags: row.tags }),
});

export const metricsToWire = (performance: Performance): z.input<typeof PerformanceMetrics> => ({
  duration_seconds: performance.durationSeconds,
  snapshots_recorded: performance.snapshotsRecorded,
  peak_speed_bps: performance.peakSpeedBps,
  avg_speed_bps: performance.avgSpeedBps,
  min_speed_bps: performance.minSpeedBps,
  peak_speed_mbps: performance.peakSpeedBps / mib,
  avg_speed_mbps: performance.avgSpeedBps / mib,
  chart_data: [...performance.chart],
});

const diskOfStart = (disk: BackupDiskRow): z.input<typeof DiskResult> => ({
  disk_id: disk.disk_index,
  nbd_port: disk.nbd_port,
  nbd_export_name: disk.nbd_export_name,
  qcow2_path: disk.qcow2_path,
  qemu_nbd_pid: disk.qemu_nbd_pid,
  status: disk.export_status,
});

const diskOfDetail = (disk: BackupDiskRow): z.input<typeof DiskResult> => ({
  ...diskOfStart(disk),
  status: disk.status,
  ...(disk.error_message === null ? {} : { error_message: disk.error_message }),
  vmware_disk_key: disk.vmware_disk_key,
  bytes_transferred: disk.bytes_transferred,
  total_bytes: disk.total_bytes,
  progress_percent: disk.progress_percent,
  change_id: disk.change_id,
  backup_disk_id: disk.backup_disk_id,
});

/** The answer to a start: what was prepared for the client. */
export const startToWire = (row: BackupRow, disks: readonly BackupDiskRow[]): Wire => ({
  ...backupToWire(row),
  status: 'started',
  disk_results: disks.map(diskOfStart),
  ...(row.nbd_targets === null ? {} : { nbd_targets_string: row.nbd_targets }),
});

/** One backup with all that is known of it. */
export const detailToWire = (row: BackupRow, disks: readonly BackupDiskRow[]): Wire => ({
  ...backupToWire(row),
  disk_results: disks.map(diskOfDetail),
  ...(row.nbd_targets === null || isEnded(row) ? {} : { nbd_targets_string: row.nbd_targets }),
  ...(row.performance === null ? {} : { performance_metrics: metricsToWire(row.performance) }),
});

export const BackupDiskRecord = z
  .object({
    id: z.int(),
    backup_job_id: z.string(),
    disk_index: z.int(),
    vmware_disk_key: z.int(),
    size_bytes: z.int(),
    original_path: z.string(),
    qcow2_path: z.string(),
    change_id: z.string().nullable(),
    bytes_transferred: z.int(),
    status: z.string(),
    created_at: z.string(),
    completed_at: z.string().nullable(),
  })
  .meta({ id: 'BackupDisk' });

export const diskRecordToWire = (disk: BackupDiskRow): z.input<typeof BackupDiskRecord> => ({
  id: disk.backup_disk_id,
  backup_job_id: disk.backup_id,
  disk_index: disk.disk_index,
  vmware_disk_key: disk.vmware_disk_key,
  size_bytes: disk.capacity_bytes,
  original_path: disk.original_path,
  qcow2_path: disk.qcow2_path,
  change_id: disk.change_id,
  bytes_transferred: disk.bytes_transferred,
  status: disk.status,
  created_at: seconds(disk.created_at),
  completed_at: secondsOrNull(disk.completed_at),
});
