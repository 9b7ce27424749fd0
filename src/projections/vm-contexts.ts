import { type Selectable, sql } from 'kysely';
import type { VmContextEvent } from '#domain/vm-context/vm-context.ts';
import type { Projection, ReadModelDb, Statement, Tables } from './projection.ts';
import type { BackupJobTable, ReadModel, VmContextTable } from './read-model.ts';

type VmAdded = Extract<VmContextEvent, { type: 'VmAdded' }>['data'];

const tables: Tables = {
  vm_contexts: [
    `create table vm_contexts (
    context_id text primary key, vm_name text not null, vmware_vm_id text not null, vm_path text not null,
    vcenter_host text not null, datacenter text not null, current_status text not null, cpu_count integer,
    memory_mb integer, os_type text, power_state text, vm_tools_version text, auto_added boolean not null,
    scheduler_enabled boolean not null, credential_id integer, created_at timestamptz not null,
    updated_at timestamptz not null, last_status_change timestamptz not null)`,
    `create index vm_contexts_by_name on vm_contexts (vm_name, created_at)`,
  ],
  vm_disks: [
    `create table vm_disks (
    id bigint not null unique, context_id text not null, disk_id text not null, vmdk_path text not null,
    size_gb integer not null, capacity_bytes bigint not null, datastore text not null, label text not null,
    unit_number integer, provisioning_type text, created_at timestamptz not null, updated_at timestamptz not null,
    primary key (context_id, disk_id))`,
  ],
};

/** Managed virtual machines and their disks. */
export const vmContextsProjection: Projection<VmContextEvent> = {
  name: 'vm-contexts.v1',
  tables,
  on: {
    VmAdded: ({ data }, db) => [
      db.insertInto('vm_contexts').values({
        ...{ context_id: data.contextId, vm_name: data.vmName, vmware_vm_id: data.vmwareVmId, vm_path: data.vmPath },
        ...{ vcenter_host: data.vcenterHost, datacenter: data.datacenter, current_status: 'discovered' },
        ...{ cpu_count: data.cpuCount, memory_mb: data.memoryMb, os_type: data.osType, power_state: data.powerState },
        ...{ vm_tools_version: data.vmToolsVersion, auto_added: true, scheduler_enabled: true },
        credential_id: data.credentialId,
        ...{ created_at: data.at, updated_at: data.at, last_status_change: data.at },
      }),
      ...insertDisks(data, db),
    ],
    VmCredentialLinked: ({ data }, db) => [
      db
        .updateTable('vm_contexts')
        .set({ credential_id: data.credentialId, updated_at: data.at })
        .where('context_id', '=', data.contextId),
    ],
  },
};

/** Numbered on from the highest, in log order: the same numbers after a rebuild. */
const insertDisks = ({ contextId, disks, at }: VmAdded, db: ReadModelDb): readonly Statement[] => {
  if (disks.length === 0) return [];
  const rows = disks.map((disk, index) => ({
    id: sql<number>`(select coalesce(max(id), 0) from vm_disks) + ${sql.lit(index + 1)}`,
    ...{ context_id: contextId, disk_id: disk.diskId, vmdk_path: disk.vmdkPath, size_gb: disk.sizeGb },
    ...{ capacity_bytes: disk.capacityBytes, datastore: disk.datastore, label: disk.label },
    ...{ unit_number: disk.unitNumber, provisioning_type: disk.provisioningType, created_at: at, updated_at: at },
  }));
  return [db.insertInto('vm_disks').values(rows)];
};

export type VmContextRow = VmContextTable;
export type VmDiskRow = Selectable<ReadModel['vm_disks']>;

/** A backup as the list of a VM's recent jobs shows it. */
export type RecentBackupRow = Pick<
  BackupJobTable,
  'backup_id' | 'backup_type' | 'status' | 'current_phase' | 'progress_percent' | 'started_at' | 'completed_at'
> &
  Pick<BackupJobTable, 'error_message'>;

const recentJobs = 20;

export const vmContextQueries = (db: ReadModelDb) => {
  const contexts = () => db.selectFrom('vm_contexts').selectAll();

  return {
    list: () => contexts().orderBy('vm_name').orderBy('context_id').execute(),
    find: (contextId: string) => contexts().where('context_id', '=', contextId).executeTakeFirst(),
    /** All of that name, oldest first: a name may exist in several vCenters. */
    findByName: (vmName: string) =>
      contexts().where('vm_name', '=', vmName).orderBy('created_at').orderBy('context_id').execute(),
    /** The same; when there is none of that name, those whose inventory path ends with it. */
    findByNameOrPath: async (vmName: string) => {
      const named = await contexts()
        .where('vm_name', '=', vmName)
        .orderBy('created_at')
        .orderBy('context_id')
        .execute();
      if (named.length > 0) return named;
      const last = sql<string>`regexp_replace(vm_path, '^.*/', '')`;
      return contexts().where(last, '=', vmName).orderBy('created_at').orderBy('context_id').execute();
    },
    disks: (contextId: string) =>
      db.selectFrom('vm_disks').selectAll().where('context_id', '=', contextId).orderBy('id').execute(),
    /** Newest first. */
    recentBackups: (contextId: string): Promise<RecentBackupRow[]> =>
      db
        .selectFrom('backup_jobs')
        .select(['backup_id', 'backup_type', 'status', 'current_phase', 'progress_percent', 'started_at'])
        .select(['completed_at', 'error_message'])
        .where('vm_context_id', '=', contextId)
        .orderBy('started_at', 'desc')
        .orderBy('backup_id', 'desc')
        .limit(recentJobs)
        .execute(),
    /** For discoveries: what is managed already. */
    managedVms: async () => {
      const rows = await contexts().orderBy('created_at').orderBy('context_id').execute();
      return rows.map((row) => ({
        ...{ contextId: row.context_id, vmName: row.vm_name, vmwareVmId: row.vmware_vm_id },
        vcenterHost: row.vcenter_host,
      }));
    },
  };
};

export type VmContextQueries = ReturnType<typeof vmContextQueries>;
