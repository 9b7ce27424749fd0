import type { Metrics } from './registry.ts';

type Counts = readonly Readonly<{ status: string; count: number }>[];

/** Mounts of backups for file restore: how many in which state, and how many there may be. */
export const addMountMetrics = (metrics: Metrics, counts: () => Promise<Counts>, slots: number): void => {
  const mounts = metrics.gauge({
    name: 'sendense_restore_mounts',
    help: 'Mounted disks of backups by state; one that failed could not be taken down and still holds its slot',
    labels: ['state'],
  });
  const capacity = metrics.gauge({
    name: 'sendense_restore_mount_slots',
    help: 'How many disks of backups can be mounted at once',
  });
  metrics.addSource({
    name: 'restore-mounts',
    gauges: [mounts, capacity],
    read: counts,
    write: (found) => {
      capacity.set(slots);
      for (const state of ['mounting', 'mounted', 'unmounting', 'failed'])
        mounts.set({ state }, found.find(({ status }) => status === state)?.count ?? 0);
    },
  });
};
