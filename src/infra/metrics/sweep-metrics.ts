import type { SweepObserver } from '#process-managers/ports.ts';
import type { Metrics } from './registry.ts';

/** Work that comes again and again: whether it still does, which no failure tells. */
export const sweepMetrics = (metrics: Metrics): SweepObserver => {
  const interval = metrics.gauge({
    name: 'sendense_sweep_interval_seconds',
    help: 'How often a sweep is meant to run here',
    labels: ['sweep'],
  });
  const success = metrics.gauge({
    name: 'sendense_sweep_last_success_timestamp_seconds',
    help: 'When a sweep last ended well; before the first time, when it was set up',
    labels: ['sweep'],
  });
  const failures = metrics.counter({
    name: 'sendense_sweep_failures_total',
    help: 'Sweeps that failed; they come again',
    labels: ['sweep'],
  });
  return {
    watch: ({ name, seconds }, work) => {
      const labels = { sweep: name };
      interval.set(labels, seconds);
      success.setToCurrentTime(labels);
      failures.inc(labels, 0);
      return async () => {
        try {
          await work();
          success.setToCurrentTime(labels);
        } catch (error) {
          failures.inc(labels);
          throw error;
        }
      };
    },
  };
};
