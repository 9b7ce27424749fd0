import { type Kysely, sql } from 'kysely';

/** Times are `timestamptz`; the connection hands them out as ISO 8601 UTC text. */
const statements = [
  `create table checkpoints (projection text primary key, position numeric(20) not null, updated_at timestamptz not null default now())`,
  `create table counters (name text primary key, last bigint not null)`,
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
  `create table backup_disks (
    backup_disk_id bigint not null unique, backup_id text not null, disk_index integer not null,
    vmware_disk_key integer not null, disk_backup_id text not null, capacity_bytes bigint not null,
    original_path text not null, qcow2_path text not null, nbd_export_name text not null, nbd_port integer,
    qemu_nbd_pid integer, export_status text not null, status text not null, change_id text,
    bytes_transferred bigint not null, total_bytes bigint not null, progress_percent double precision not null,
    image_bytes bigint not null, error_message text, created_at timestamptz not null, completed_at timestamptz,
    primary key (backup_id, disk_index))`,
  `create index backup_disks_by_own_id on backup_disks (disk_backup_id)`,
  `create table vm_backup_contexts (
    backup_context_id text primary key, vm_context_id text not null, vm_name text not null, repository_id text not null,
    total_backups_run integer not null, successful_backups integer not null, failed_backups integer not null,
    last_backup_id text, last_backup_type text, last_backup_at timestamptz, created_at timestamptz not null,
    unique (vm_context_id, repository_id))`,
  `create table job_telemetry_snapshots (
    job_id text not null, job_type text not null, timestamp timestamptz not null, bytes_transferred bigint not null,
    total_bytes bigint not null, transfer_speed_bps bigint not null, progress_percent double precision not null,
    current_phase text not null, primary key (job_id, timestamp))`,
  `create table nbd_port_allocations (
    storage_node text not null, port integer not null, job_id text not null, export_name text not null,
    allocated_at timestamptz not null, expires_at timestamptz not null, primary key (storage_node, port))`,
  `create table qemu_nbd_processes (
    export_id text primary key, export_name text not null, port integer not null, qcow2_path text not null,
    pid integer not null, read_only boolean not null, shared_connections integer not null, backup_id text,
    started_at timestamptz not null)`,
  `create table backup_repositories (
    repository_id text primary key, name text not null, type text not null, enabled boolean not null,
    config jsonb not null, is_immutable boolean not null, min_retention_days integer not null, removing boolean not null,
    created_at timestamptz not null, updated_at timestamptz not null, total_bytes bigint, used_bytes bigint,
    available_bytes bigint, last_check_at timestamptz)`,
  `create table vm_contexts (
    context_id text primary key, vm_name text not null, vmware_vm_id text not null, vm_path text not null,
    vcenter_host text not null, datacenter text not null, current_status text not null, cpu_count integer,
    memory_mb integer, os_type text, power_state text, vm_tools_version text, auto_added boolean not null,
    scheduler_enabled boolean not null, credential_id integer, created_at timestamptz not null,
    updated_at timestamptz not null, last_status_change timestamptz not null)`,
  `create index vm_contexts_by_name on vm_contexts (vm_name, created_at)`,
  `create table vm_disks (
    id bigint not null unique, context_id text not null, disk_id text not null, vmdk_path text not null,
    size_gb integer not null, capacity_bytes bigint not null, datastore text not null, label text not null,
    unit_number integer, provisioning_type text, created_at timestamptz not null, updated_at timestamptz not null,
    primary key (context_id, disk_id))`,
  `create table vmware_credentials (
    id integer primary key, credential_name text not null, vcenter_host text not null, username text not null,
    datacenter text not null, is_active boolean not null, is_default boolean not null, created_by text not null,
    created_at timestamptz not null, updated_at timestamptz not null, last_used timestamptz,
    usage_count integer not null)`,
  `create table sessions (
    token_sha256 text primary key, subject text not null, opened_at timestamptz not null, expires_at timestamptz not null)`,
];

export const up = async (db: Kysely<unknown>): Promise<void> => {
  for (const statement of statements) await sql.raw(statement).execute(db);
};
