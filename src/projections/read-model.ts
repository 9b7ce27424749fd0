import type { ColumnType, Generated, JSONColumnType } from 'kysely';
import type { Performance } from '#domain/backup/events.ts';
import type { LocalConfig } from '#domain/repository/config.ts';
import type { BackupType } from '#domain/restore-points/events.ts';
import type { AuditEntryTable } from './audit.ts';
import type { DiskRestoreTable } from './disk-restores.ts';
import type { EventIndexTable } from './event-index.ts';
import type { HistoryJobTable, HistoryVmTable } from './history-index.ts';
import type { RestoreMountTable } from './restore-mounts.ts';

/** `bigint` columns arrive as strings from the driver; the connection's type parser turns them into numbers. */
type Int8 = ColumnType<number, number | string, number | string>;
/** ISO 8601 UTC in, ISO 8601 UTC out: the connection's type parser keeps dates out of the program. */
type Time = string;
type TimeOrNull = string | null;

export type CheckpointTable = {
  /** The generation's schema. */
  projection: string;
  /** Log positions exceed 2^53 on a real cluster: text in the program, numeric in the table. */
  position: string;
  /** How many of its streams are parked. */
  parked: Generated<number>;
  updated_at: ColumnType<Time, never, unknown>;
};

/**
 * A stream whose events a projection does not apply any more, since one could not be applied. The events that wait are not
 * copied: they are those of the stream from the head to the last revision.
 */
export type ParkedStreamTable = {
  /** The generation's schema. */
  projection: string;
  stream: string;
  head_revision: string;
  head_position: string;
  event_id: string;
  event_type: string;
  error: string;
  /** When the event that could not be applied was recorded. */
  recorded_at: Time;
  parked_at: ColumnType<Time, unknown, unknown>;
  attempts: number;
  /** Events that wait behind it. */
  waiting: number;
  last_revision: string;
};

/** The newest rebuild, of whichever hub; one row. */
export type RebuildTable = {
  id: string;
  state: 'running' | 'completed' | 'failed' | 'cancelled';
  projections: JSONColumnType<readonly string[]>;
  requested_by: string;
  started_at: ColumnType<Time, unknown, unknown>;
  ended_at: ColumnType<TimeOrNull, unknown, unknown>;
  events_done: Int8;
  position: string;
  head: string;
  error: string | null;
  cancel_requested: boolean;
};

/** Which log the tables follow; one row. */
export type FollowedLogTable = {
  /** Made up when it was noted: who follows a log remembers it, and notices that another one was noted since. */
  id: string;
  since: ColumnType<Time, unknown, unknown>;
  /** Why the tables were begun anew then; null where they were not. */
  reason: string | null;
};

/** Events by which that log is known again. */
export type LogMarkTable = { slot: string; position: string; stream: string; revision: string; event_id: string };

/** Numbers that a projection hands out in log order: the same after a rebuild. */
export type CounterTable = { name: string; last: Int8 };

export type BackupJobTable = {
  backup_id: string;
  vm_context_id: string;
  vm_name: string;
  vm_path: string;
  backup_context_id: string;
  repository_id: string;
  policy_id: string | null;
  backup_type: BackupType;
  parent_backup_id: string | null;
  tags: JSONColumnType<Record<string, string>>;
  status: 'running' | 'stalled' | 'completed' | 'failed';
  current_phase: string;
  disks_count: number;
  bytes_transferred: Int8;
  total_bytes: Int8;
  progress_percent: number;
  transfer_speed_bps: Int8;
  eta_seconds: Int8;
  nbd_targets: string | null;
  error_message: string | null;
  performance: JSONColumnType<Performance> | null;
  created_at: Time;
  started_at: Time;
  completed_at: TimeOrNull;
  last_telemetry_at: TimeOrNull;
  /** The latest sign of life: telemetry, a change id, or the start. */
  last_activity_at: Time;
  /** Everything is freed; until then the job's process manager still owes something. */
  closed: boolean;
  /** Its deletion was asked for and has neither ended nor failed. */
  removing: Generated<boolean>;
  /** Position of the newest event that is in this row. */
  position: string;
};

export type BackupDiskTable = {
  backup_disk_id: Int8;
  backup_id: string;
  disk_index: number;
  vmware_disk_key: number;
  /** `backup-<vm>-disk<i>-<time>`: also accepted as a job id by telemetry. */
  disk_backup_id: string;
  capacity_bytes: Int8;
  original_path: string;
  qcow2_path: string;
  nbd_export_name: string;
  nbd_port: number | null;
  qemu_nbd_pid: number | null;
  /** What a start's answer calls `qemu_started`. */
  export_status: 'port_allocated' | 'qemu_started' | 'stopped' | 'failed';
  status: 'pending' | 'running' | 'transferred' | 'completed' | 'failed';
  change_id: string | null;
  bytes_transferred: Int8;
  total_bytes: Int8;
  progress_percent: number;
  image_bytes: Int8;
  error_message: string | null;
  created_at: Time;
  completed_at: TimeOrNull;
};

/** One VM in one repository. */
export type VmBackupContextTable = {
  backup_context_id: string;
  vm_context_id: string;
  vm_name: string;
  repository_id: string;
  total_backups_run: number;
  successful_backups: number;
  failed_backups: number;
  last_backup_id: string | null;
  last_backup_type: BackupType | null;
  last_backup_at: TimeOrNull;
  created_at: Time;
};

export type TelemetrySnapshotTable = {
  job_id: string;
  job_type: string;
  timestamp: Time;
  bytes_transferred: Int8;
  total_bytes: Int8;
  transfer_speed_bps: Int8;
  progress_percent: number;
  current_phase: string;
};

export type NbdPortTable = {
  storage_node: string;
  port: number;
  job_id: string;
  export_name: string;
  allocated_at: Time;
  expires_at: Time;
};

export type NbdExportTable = {
  export_id: string;
  export_name: string;
  port: number;
  qcow2_path: string;
  pid: number;
  read_only: boolean;
  shared_connections: number;
  /** The job that it serves; null for an export that somebody started by hand. */
  backup_id: string | null;
  started_at: Time;
};

export type RepositoryTable = {
  repository_id: string;
  name: string;
  type: string;
  enabled: boolean;
  config: JSONColumnType<LocalConfig>;
  is_immutable: boolean;
  min_retention_days: number;
  /** Its removal has begun and was not settled. */
  removing: boolean;
  created_at: Time;
  updated_at: Time;
  total_bytes: Int8 | null;
  used_bytes: Int8 | null;
  available_bytes: Int8 | null;
  last_check_at: TimeOrNull;
};

export type VmContextTable = {
  context_id: string;
  vm_name: string;
  vmware_vm_id: string;
  vm_path: string;
  vcenter_host: string;
  datacenter: string;
  current_status: string;
  cpu_count: number | null;
  memory_mb: number | null;
  os_type: string | null;
  power_state: string | null;
  vm_tools_version: string | null;
  auto_added: boolean;
  scheduler_enabled: boolean;
  credential_id: number | null;
  created_at: Time;
  updated_at: Time;
  last_status_change: Time;
};

export type VmDiskTable = {
  id: Int8;
  context_id: string;
  disk_id: string;
  vmdk_path: string;
  size_gb: number;
  capacity_bytes: Int8;
  datastore: string;
  label: string;
  unit_number: number | null;
  provisioning_type: string | null;
  created_at: Time;
  updated_at: Time;
};

export type CredentialTable = {
  id: number;
  credential_name: string;
  vcenter_host: string;
  username: string;
  datacenter: string;
  is_active: boolean;
  is_default: boolean;
  created_by: string;
  created_at: Time;
  updated_at: Time;
  last_used: TimeOrNull;
  usage_count: number;
};

export type SessionTable = { token_sha256: string; subject: string; opened_at: Time; expires_at: Time };

/** All tables of the read side; every row follows from events. */
export type ReadModel = {
  checkpoints: CheckpointTable;
  parked_streams: ParkedStreamTable;
  rebuilds: RebuildTable;
  followed_log: FollowedLogTable;
  log_marks: LogMarkTable;
  backup_jobs: BackupJobTable;
  backup_disks: BackupDiskTable;
  vm_backup_contexts: VmBackupContextTable;
  job_telemetry_snapshots: TelemetrySnapshotTable;
  /** Numbers of disks. */
  backup_counters: CounterTable;
  nbd_port_allocations: NbdPortTable;
  qemu_nbd_processes: NbdExportTable;
  restore_mounts: RestoreMountTable;
  disk_restores: DiskRestoreTable;
  backup_repositories: RepositoryTable;
  vm_contexts: VmContextTable;
  vm_disks: VmDiskTable;
  vmware_credentials: CredentialTable;
  sessions: SessionTable;
  audit_entries: AuditEntryTable;
  event_index: EventIndexTable;
  history_jobs: HistoryJobTable;
  history_vms: HistoryVmTable;
};
