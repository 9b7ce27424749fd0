import type { Metrics } from './registry.ts';

type Counts = readonly Readonly<{ status: string; count: number }>[];

const states = ['pending', 'running', 'completed', 'failed', 'cancelled'] as const;

/** Disks that are written back. Those that have ended stay in the table, so their numbers only grow. */
export const addDiskRestoreMetrics = (metrics: Metrics, counts: () => Promise<Counts>): void => {
  const restores = metrics.gauge({
    name: 'sendense_restore_disks',
    help: 'Disks of backups that are written back, or were since the history began, by state',
    labels: ['state'],
  });
  metrics.addSource({
    name: 'disk-restores',
    gauges: [restores],
    read: counts,
    write: (found) => {
      for (const state of states) restores.set({ state }, found.find(({ status }) => status === state)?.count ?? 0);
    },
  });
};

type Exports = Readonly<{ limit: number; list: () => readonly unknown[] }>;

/** Disks that are downloaded from this hub right now, and how many may be. */
export const addExportMetrics = (metrics: Metrics, { limit, list }: Exports): void => {
  const open = metrics.gauge({
    name: 'sendense_restore_exports_open',
    help: 'Whole disks of backups that are being downloaded',
  });
  const capacity = metrics.gauge({
    name: 'sendense_restore_exports_limit',
    help: 'How many disks can be downloaded at once; who asks for one more is refused',
  });
  metrics.addSource({
    name: 'disk-exports',
    gauges: [open, capacity],
    read: async () => list().length,
    write: (count) => {
      open.set(count);
      capacity.set(limit);
    },
  });
};
