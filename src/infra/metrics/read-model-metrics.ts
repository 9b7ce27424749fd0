import type { Gauge } from 'prom-client';
import type { ReadModelDb } from '#projections/projection.ts';
import { type ReadModelFacts, readReadModelFacts } from './read-model-facts.ts';
import type { Metrics } from './registry.ts';

/** A VM makes a handful of series; the thousand that need attention most are shown. */
const maxVms = 1_000;
const statementTimeoutMs = 1_000;

const seconds = (at: string): number => Date.parse(at) / 1000;

/** One family: its gauge, and how the facts become its values. */
type Family = Readonly<{ gauge: Gauge<string>; write: (facts: ReadModelFacts) => void }>;

const jobFamilies = (metrics: Metrics): readonly Family[] => {
  const jobs = metrics.gauge({
    name: 'sendense_backup_jobs',
    help: 'Backups on record by type and state',
    labels: ['type', 'state'],
  });
  const open = metrics.gauge({
    name: 'sendense_process_manager_unfinished_jobs',
    help: 'Jobs for which something is still owed: data, clean-up, or their removal',
    labels: ['process_manager'],
  });
  const oldest = metrics.gauge({
    name: 'sendense_process_manager_oldest_unfinished_job_age_seconds',
    help: 'Age of the oldest such job; 0 when there is none',
    labels: ['process_manager'],
  });
  const runner = { process_manager: 'backup-runner' };
  return [
    {
      gauge: jobs,
      write: (facts) => {
        for (const type of ['full', 'incremental']) {
          for (const state of ['running', 'stalled', 'completed', 'failed']) jobs.set({ type, state }, 0);
        }
        for (const { type, status, count } of facts.jobs) jobs.set({ type, state: status }, count);
      },
    },
    { gauge: open, write: (facts) => open.set(runner, facts.open.count) },
    {
      gauge: oldest,
      write: ({ open: { oldestAt } }) =>
        oldest.set(runner, oldestAt === null ? 0 : Math.max(0, Date.now() / 1000 - seconds(oldestAt))),
    },
  ];
};

const vmFamilies = (metrics: Metrics): readonly Family[] => {
  const labels = ['vm_context_id', 'vm_name'] as const;
  const success = metrics.gauge({
    name: 'sendense_backup_last_success_timestamp_seconds',
    help: `When a VM's newest completed backup was completed; 0 for a VM whose backups all failed. At most ${maxVms} VMs, those in need first`,
    labels,
  });
  const omitted = metrics.gauge({
    name: 'sendense_backup_vms_omitted',
    help: `VMs beyond the ${maxVms} that are shown by name; their last success is newer than that of all others`,
  });
  const size = metrics.gauge({
    name: 'sendense_backup_last_size_bytes',
    help: "Bytes transferred by a VM's newest completed backup of a type",
    labels: [...labels, 'type'],
  });
  const change = metrics.gauge({
    name: 'sendense_backup_size_change_ratio',
    help: 'That size divided by the mean of up to seven completed backups of the type before it; 1 is as usual',
    labels: [...labels, 'type'],
  });
  const vmOf = ({ contextId, vmName }: Readonly<{ contextId: string; vmName: string }>) => ({
    vm_context_id: contextId,
    vm_name: vmName,
  });
  return [
    {
      gauge: success,
      write: ({ vms }) => {
        for (const vm of vms) success.set(vmOf(vm), vm.lastSuccessAt === null ? 0 : seconds(vm.lastSuccessAt));
      },
    },
    { gauge: omitted, write: ({ vms, vmCount }) => omitted.set(vmCount - vms.length) },
    {
      gauge: size,
      write: ({ sizes }) => {
        for (const vm of sizes) size.set({ ...vmOf(vm), type: vm.type }, vm.lastBytes);
      },
    },
    {
      gauge: change,
      write: ({ sizes }) => {
        for (const vm of sizes) {
          if (vm.usualBytes) change.set({ ...vmOf(vm), type: vm.type }, vm.lastBytes / vm.usualBytes);
        }
      },
    },
  ];
};

const storageFamilies = (metrics: Metrics, portCapacity: number): readonly Family[] => {
  const used = metrics.gauge({ name: 'sendense_nbd_ports_used', help: 'NBD ports that jobs hold' });
  const capacity = metrics.gauge({ name: 'sendense_nbd_ports_capacity', help: 'NBD ports there are' });
  const exportsRunning = metrics.gauge({ name: 'sendense_nbd_exports_running', help: 'Disk images served over NBD' });
  const labels = ['repository_id', 'repository'] as const;
  const size = metrics.gauge({
    name: 'sendense_repository_size_bytes',
    help: 'Size of the file system of a repository, as last measured',
    labels,
  });
  const available = metrics.gauge({
    name: 'sendense_repository_available_bytes',
    help: 'What of it can still be taken, as last measured',
    labels,
  });
  const checked = metrics.gauge({
    name: 'sendense_repository_checked_timestamp_seconds',
    help: 'When the repository was last measured',
    labels,
  });
  const perRepository =
    (gauge: Gauge<string>, amountOf: (row: ReadModelFacts['repositories'][number]) => number | null) =>
    ({ repositories }: ReadModelFacts): void => {
      for (const row of repositories) {
        const value = amountOf(row);
        if (value !== null) gauge.set({ repository_id: row.repositoryId, repository: row.name }, value);
      }
    };
  return [
    { gauge: used, write: (facts) => used.set(facts.portsUsed) },
    { gauge: capacity, write: () => capacity.set(portCapacity) },
    { gauge: exportsRunning, write: (facts) => exportsRunning.set(facts.exportsRunning) },
    { gauge: size, write: perRepository(size, (row) => row.totalBytes) },
    { gauge: available, write: perRepository(available, (row) => row.availableBytes) },
    {
      gauge: checked,
      write: perRepository(checked, (row) => (row.checkedAt === null ? null : seconds(row.checkedAt))),
    },
  ];
};

type Deps = Readonly<{ db: ReadModelDb; storageNode: string; portCapacity: number }>;

/** What the tables tell: jobs, VMs, ports, repositories. */
export const addReadModelMetrics = (metrics: Metrics, { db, storageNode, portCapacity }: Deps): void => {
  const up = metrics.gauge({
    name: 'sendense_database_up',
    help: 'Whether the database of the read models answers (1) or not (0)',
  });
  const families = [...jobFamilies(metrics), ...vmFamilies(metrics), ...storageFamilies(metrics, portCapacity)];
  metrics.addSource<ReadModelFacts>({
    name: 'read-model',
    gauges: [up, ...families.map(({ gauge }) => gauge)],
    read: () => readReadModelFacts(db, { storageNode, maxVms, timeoutMs: statementTimeoutMs }),
    write: (facts) => {
      up.set(1);
      for (const { write } of families) write(facts);
    },
    failed: () => up.set(0),
  });
};
