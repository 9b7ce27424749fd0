import type { Metrics } from './registry.ts';

type LogStatus = Readonly<{
  /** The position of the newest event. */
  head: (signal: AbortSignal) => Promise<bigint>;
  projections: () => Readonly<{
    names: readonly string[];
    running: boolean;
    position: bigint;
    appliedEventAt: string | null;
  }>;
}>;

/** The log's end, and how far the read models are from it. */
export const addLogMetrics = (metrics: Metrics, { head, projections }: LogStatus): void => {
  const up = metrics.gauge({
    name: 'sendense_event_store_up',
    help: 'Whether the event store answers (1) or not (0)',
  });
  const position = metrics.gauge({
    name: 'sendense_event_store_head_position',
    help: 'Position of the newest event of the log',
  });
  const labels = ['projection'] as const;
  const lagEvents = metrics.gauge({
    name: 'sendense_projection_lag_events',
    help: 'How far the log is ahead of a projection, in positions of the log; the embedded store counts them by event',
    labels,
  });
  const lagSeconds = metrics.gauge({
    name: 'sendense_projection_lag_seconds',
    help: 'For how long a projection has been behind the log; 0 when it is not',
    labels,
  });
  // The newest applied event may be days old in a quiet hub; whoever was seen without a lag since has none as old as that.
  let levelAtMs = 0;
  metrics.addSource({
    name: 'event-store',
    gauges: [up, position, lagEvents, lagSeconds],
    read: head,
    write: (newest) => {
      up.set(1);
      position.set(Number(newest));
      const { names, position: applied, appliedEventAt } = projections();
      const behind = newest > applied ? Number(newest - applied) : 0;
      const nowMs = Date.now();
      if (behind === 0) levelAtMs = nowMs;
      const sinceMs = Math.max(levelAtMs, appliedEventAt === null ? 0 : Date.parse(appliedEventAt));
      for (const projection of names) {
        lagEvents.set({ projection }, behind);
        lagSeconds.set({ projection }, behind === 0 || sinceMs === 0 ? 0 : (nowMs - sinceMs) / 1000);
      }
    },
    failed: () => up.set(0),
  });
  const running = metrics.gauge({
    name: 'sendense_projection_running',
    help: 'Whether a projection gets on (1) or is in trouble and tries again (0)',
    labels,
  });
  metrics.addSource({
    name: 'projections',
    gauges: [running],
    read: async () => projections(),
    write: (status) => {
      for (const projection of status.names) running.set({ projection }, status.running ? 1 : 0);
    },
  });
};

/** Streams whose events a projection does not apply until somebody has decided about the first of them. */
export const addParkedMetrics = (metrics: Metrics, counts: () => Promise<ReadonlyMap<string, number>>): void => {
  const parked = metrics.gauge({
    name: 'sendense_projection_parked_streams',
    help: 'Streams that a projection has parked behind an event that it cannot apply',
    labels: ['projection'],
  });
  metrics.addSource({
    name: 'parked-streams',
    gauges: [parked],
    read: counts,
    write: (byProjection) => {
      for (const [projection, count] of byProjection) parked.set({ projection }, count);
    },
  });
};

type ProcessManagerStatus = Readonly<{ name: string; running: boolean; openJobs: number }>;

export const addProcessManagerMetrics = (metrics: Metrics, status: () => readonly ProcessManagerStatus[]): void => {
  const labels = ['process_manager'] as const;
  const running = metrics.gauge({
    name: 'sendense_process_manager_running',
    help: 'Whether a process manager works here (1); 0 while it starts, is in trouble, or works at another hub of the node',
    labels,
  });
  const busy = metrics.gauge({
    name: 'sendense_process_manager_open_jobs',
    help: 'Jobs that are being looked at or wait for it',
    labels,
  });
  metrics.addSource({
    name: 'process-managers',
    gauges: [running, busy],
    read: async () => status(),
    write: (all) => {
      for (const { name, ...facts } of all) {
        running.set({ process_manager: name }, facts.running ? 1 : 0);
        busy.set({ process_manager: name }, facts.openJobs);
      }
    },
  });
};
