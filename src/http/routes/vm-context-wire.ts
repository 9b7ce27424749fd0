import { z } from 'zod';
import type { RecentBackupRow, VmContextRow, VmDiskRow } from '#projections/vm-contexts.ts';
import { categoryOf, sanitised, stepName } from './job-words.ts';

const nullable = { text: z.string().nullable(), number: z.int().nullable(), time: z.string().nullable() };

export const VmContext = z
  .object({
    ...{ context_id: z.string(), vm_name: z.string(), vmware_vm_id: z.string(), vm_path: z.string() },
    ...{ vcenter_host: z.string(), datacenter: z.string(), current_status: z.string() },
    ...{ current_job_id: nullable.text, last_successful_job_id: nullable.text, last_scheduled_job_id: nullable.text },
    ...{ total_jobs_run: z.int(), successful_jobs: z.int(), failed_jobs: z.int() },
    ...{ cpu_count: nullable.number, memory_mb: nullable.number },
    ...{ os_type: nullable.text, power_state: nullable.text, vm_tools_version: nullable.text },
    ...{ created_at: z.string(), updated_at: z.string(), last_status_change: z.string() },
    ...{ first_job_at: nullable.time, last_job_at: nullable.time, next_scheduled_at: nullable.time },
    ...{ auto_added: z.boolean(), scheduler_enabled: z.boolean() },
    ...{ ossea_config_id: nullable.number, credential_id: nullable.number, last_operation_summary: nullable.text },
  })
  .meta({ id: 'VmContext' });

/** Jobs and groups of a context belong to replication: a VM that is only backed up has none. */
export const contextToWire = (row: VmContextRow): z.input<typeof VmContext> => ({
  ...row,
  ...{ current_job_id: null, last_successful_job_id: null, last_scheduled_job_id: null },
  ...{ total_jobs_run: 0, successful_jobs: 0, failed_jobs: 0 },
  ...{ first_job_at: null, last_job_at: null, next_scheduled_at: null },
  ...{ ossea_config_id: null, last_operation_summary: null },
});

const Membership = z.object({
  ...{ group_id: z.string(), group_name: z.string(), priority: z.int(), enabled: z.boolean() },
});

export const ListedContext = VmContext.extend({ groups: z.array(Membership), group_count: z.int() }).meta({
  id: 'ListedVmContext',
});

export const listedToWire = (row: VmContextRow): z.input<typeof ListedContext> => ({
  ...contextToWire(row),
  ...{ groups: [], group_count: 0 },
});

export const VmDisk = z
  .object({
    ...{ id: z.int(), job_id: nullable.text, vm_context_id: z.string(), disk_id: z.string(), vmdk_path: z.string() },
    ...{ size_gb: z.int(), datastore: z.string(), unit_number: nullable.number, label: z.string() },
    ...{ capacity_bytes: z.int(), provisioning_type: nullable.text, ossea_volume_id: nullable.number },
    ...{ cpu_count: nullable.number, memory_mb: nullable.number, os_type: nullable.text },
    ...{ vm_tools_version: nullable.text, network_config: nullable.text, display_name: nullable.text },
    ...{ annotation: nullable.text, power_state: nullable.text, vmware_uuid: nullable.text, bios_setup: nullable.text },
    ...{ disk_change_id: nullable.text, sync_status: z.string(), sync_progress_percent: z.number() },
    ...{ bytes_synced: z.int(), created_at: z.string(), updated_at: z.string() },
  })
  .meta({ id: 'VmDisk' });

/** Nothing of it has been replicated: that is what `sync` means. */
export const diskToWire = (row: VmDiskRow, vm: VmContextRow): z.input<typeof VmDisk> => ({
  ...row,
  ...{ job_id: null, vm_context_id: row.context_id, ossea_volume_id: null, cpu_count: vm.cpu_count },
  ...{ memory_mb: vm.memory_mb, os_type: vm.os_type, vm_tools_version: vm.vm_tools_version, network_config: null },
  ...{ display_name: vm.vm_name, annotation: null, power_state: vm.power_state, vmware_uuid: vm.vmware_vm_id },
  ...{ bios_setup: null, disk_change_id: null, sync_status: 'pending', sync_progress_percent: 0, bytes_synced: 0 },
});

export const Details = z
  .object({
    context: VmContext,
    /** Replications: there are none yet, so nothing says what one looks like. */
    job_history: z.array(z.never()),
    disks: z.array(VmDisk),
    cbt_history: z.array(z.never()),
  })
  .meta({ id: 'VmContextDetails' });

export const Ungrouped = z
  .object({
    ...{ context_id: z.string(), vm_name: z.string(), vmware_vm_id: z.string(), vm_path: z.string() },
    ...{ vcenter_host: z.string(), datacenter: z.string(), current_status: z.string() },
    ...{ auto_added: z.boolean(), scheduler_enabled: z.boolean() },
    ...{ cpu_count: nullable.number, memory_mb: nullable.number, os_type: nullable.text, power_state: nullable.text },
    ...{ created_at: z.string(), last_job_at: nullable.time },
  })
  .meta({ id: 'UngroupedVm' });

export const ungroupedToWire = (row: VmContextRow): z.input<typeof Ungrouped> => ({ ...row, last_job_at: null });

export const RecentJob = z
  .object({
    ...{ job_id: z.string(), job_type: z.string(), status: z.string(), progress: z.number() },
    ...{ started_at: z.string(), completed_at: z.string().optional(), display_name: z.string() },
    ...{ current_step: z.string().optional(), error_message: z.string().optional() },
    ...{ error_category: z.string().optional(), data_source: z.string(), duration_seconds: z.int().optional() },
  })
  .meta({ id: 'RecentJob' });

const secondsBetween = (from: string, to: string): number => Math.round((Date.parse(to) - Date.parse(from)) / 1000);

export const recentBackupToWire = (row: RecentBackupRow): z.input<typeof RecentJob> => ({
  ...{ job_id: row.backup_id, job_type: 'backup', status: row.status, progress: row.progress_percent },
  started_at: row.started_at,
  display_name: row.backup_type === 'full' ? 'Full Backup' : 'Incremental Backup',
  data_source: 'backup_jobs',
  ...(row.completed_at === null
    ? { current_step: stepName(row.current_phase) }
    : { completed_at: row.completed_at, duration_seconds: secondsBetween(row.started_at, row.completed_at) }),
  ...(row.error_message === null
    ? {}
    : { error_message: sanitised(row.error_message), error_category: categoryOf(row.error_message) }),
});
