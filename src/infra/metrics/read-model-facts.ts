import { type Kysely, sql, type Transaction } from 'kysely';
import type { ReadModel } from '#projections/read-model.ts';

export type VmFacts = Readonly<{ contextId: string; vmName: string; lastSuccessAt: string | null }>;

export type SizeFacts = Readonly<{
  contextId: string;
  vmName: string;
  type: string;
  lastBytes: number;
  /** Of those before the last, of the same type; null when there are none. */
  usualBytes: number | null;
}>;

export type RepositoryFacts = Readonly<{
  repositoryId: string;
  name: string;
  totalBytes: number | null;
  availableBytes: number | null;
  checkedAt: string | null;
}>;

export type ReadModelFacts = Readonly<{
  jobs: readonly Readonly<{ type: string; status: string; count: number }>[];
  open: Readonly<{ count: number; oldestAt: string | null }>;
  vms: readonly VmFacts[];
  vmCount: number;
  sizes: readonly SizeFacts[];
  portsUsed: number;
  exportsRunning: number;
  repositories: readonly RepositoryFacts[];
}>;

/** Backups before the last one that tell what is usual. */
const usualCount = 7;

const jobs = (db: Transaction<ReadModel>) =>
  sql<{ type: string; status: string; count: number }>`
    select backup_type as type, status, count(*)::int as count from backup_jobs group by backup_type, status
  `.execute(db);

const open = (db: Transaction<ReadModel>) =>
  sql<{ count: number; oldestAt: string | null }>`
    select count(*)::int as count, min(created_at) as "oldestAt" from backup_jobs where not closed or removing
  `.execute(db);

/** Those without a success first, then those whose last success is the oldest: what is left out at the cap is well. */
const vms = (db: Transaction<ReadModel>, maxVms: number) =>
  sql<VmFacts & { vmCount: number }>`
    select vm.vm_context_id as "contextId", vm.vm_name as "vmName", job.completed_at as "lastSuccessAt",
      (count(*) over ())::int as "vmCount"
    from (select vm_context_id, max(vm_name) as vm_name from vm_backup_contexts group by vm_context_id) vm
    left join lateral (
      select completed_at from backup_jobs
      where vm_context_id = vm.vm_context_id and status = 'completed' order by created_at desc limit 1
    ) job on true
    order by job.completed_at asc nulls first, vm.vm_context_id limit ${maxVms}
  `.execute(db);

const sizes = (db: Transaction<ReadModel>, contextIds: readonly string[]) =>
  sql<SizeFacts>`
    select vm.id as "contextId", max(job.vm_name) as "vmName", type.name as type,
      max(job.bytes_transferred) filter (where job.age = 1) as "lastBytes",
      (avg(job.bytes_transferred) filter (where job.age > 1))::float8 as "usualBytes"
    from unnest(${sql.val([...contextIds])}::text[]) as vm(id)
    cross join (values ('full'), ('incremental')) as type(name)
    cross join lateral (
      select vm_name, bytes_transferred, row_number() over (order by created_at desc) as age from backup_jobs
      where vm_context_id = vm.id and status = 'completed' and backup_type = type.name
      order by created_at desc limit ${usualCount + 1}
    ) job
    group by vm.id, type.name
  `.execute(db);

const nbd = (db: Transaction<ReadModel>, storageNode: string) =>
  sql<{ ports: number; exports: number }>`
    select (select count(*) from nbd_port_allocations where storage_node = ${storageNode})::int as ports,
      (select count(*) from qemu_nbd_processes)::int as exports
  `.execute(db);

const repositories = (db: Transaction<ReadModel>) =>
  sql<RepositoryFacts>`
    select repository_id as "repositoryId", name, total_bytes as "totalBytes", available_bytes as "availableBytes",
      last_check_at as "checkedAt"
    from backup_repositories where enabled order by name
  `.execute(db);

type Bounds = Readonly<{ storageNode: string; maxVms: number; timeoutMs: number }>;

/** All of it in a few short queries on one connection; the server breaks off what takes too long. */
export const readReadModelFacts = (db: Kysely<ReadModel>, bounds: Bounds): Promise<ReadModelFacts> =>
  db
    .transaction()
    .setAccessMode('read only')
    .execute(async (tx) => {
      await sql`select set_config('statement_timeout', ${String(bounds.timeoutMs)}, true)`.execute(tx);
      const { rows: vmRows } = await vms(tx, bounds.maxVms);
      const [openRow] = (await open(tx)).rows;
      const [nbdRow] = (await nbd(tx, bounds.storageNode)).rows;
      const contextIds = vmRows.map(({ contextId }) => contextId);
      return {
        jobs: (await jobs(tx)).rows,
        open: openRow ?? { count: 0, oldestAt: null },
        vms: vmRows,
        vmCount: vmRows[0]?.vmCount ?? 0,
        sizes: (await sizes(tx, contextIds)).rows,
        portsUsed: nbdRow?.ports ?? 0,
        exportsRunning: nbdRow?.exports ?? 0,
        repositories: (await repositories(tx)).rows,
      };
    });
