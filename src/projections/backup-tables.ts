import type { Tables } from './projection.ts';

/** Times are `timestamptz`; the connection hands them out as ISO 8601 UTC text. */
export const backupTables: Tables = {
  backup_jobs: [
    `create table backup_jobs (
    backup_id text primary key, vm_context_id text not null, vm_name text not null, vm_path text not null,
    backup_context_id text not null, repository_id text not null, policy_id text, backup_type text not null,
    parent_backup_id text, tags jsonb not null, status text not null, current_phase text not null,
    disks_count integer not null, bytes_transferred bigint not null, total_bytes bigint not null,
    progress_percent double precision not null, transfer_speed_bps bigint not null, eta_seconds bigint not null,
    nbd_targets text, error_message text, performance jsonb, created_at timestamptz not null,
    started_at timestamptz not null, completed_at timestamptz, last_telemetry_at timestamptz,
    last_activity_at timestamptz not null, closed boolean not null, removing boolean not null default false,
    position numeric(20) not null)`,
    `create index backup_jobs_by_vm on backup_jobs (vm_name, created_at desc)`,
    `create index backup_jobs_by_context on backup_jobs (vm_context_id, created_at desc)`,
    `create index backup_jobs_by_repository on backup_jobs (repository_id, created_at desc)`,
    `create index backup_jobs_open on backup_jobs (backup_id) where not closed or removing`,
  ],
  backup_disks: [
    `create table backup_disks (
    backup_disk_id bigint not null unique, backup_id text not null, disk_index integer not null,
    vmware_disk_key integer not null, disk_backup_id text not null, capacity_bytes bigint not null,
    original_path text not null, qcow2_path text not null, nbd_export_name text not null, nbd_port integer,
    qemu_nbd_pid integer, export_status text not null, status text not null, change_id text,
    bytes_transferred bigint not null, total_bytes bigint not null, progress_percent double precision not null,
    image_bytes bigint not null, error_message text, created_at timestamptz not null, completed_at timestamptz,
    primary key (backup_id, disk_index))`,
    `create index backup_disks_by_own_id on backup_disks (disk_backup_id)`,
  ],
  vm_backup_contexts: [
    `create table vm_backup_contexts (
    backup_context_id text primary key, vm_context_id text not null, vm_name text not null, repository_id text not null,
    total_backups_run integer not null, successful_backups integer not null, failed_backups integer not null,
    last_backup_id text, last_backup_type text, last_backup_at timestamptz, created_at timestamptz not null,
    unique (vm_context_id, repository_id))`,
  ],
  job_telemetry_snapshots: [
    `create table job_telemetry_snapshots (
    job_id text not null, job_type text not null, timestamp timestamptz not null, bytes_transferred bigint not null,
    total_bytes bigint not null, transfer_speed_bps bigint not null, progress_percent double precision not null,
    current_phase text not null, primary key (job_id, timestamp))`,
  ],
  backup_counters: [`create table backup_counters (name text primary key, last bigint not null)`],
};
