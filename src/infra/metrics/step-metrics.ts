import type { StepObserver } from '#process-managers/ports.ts';
import type { Metrics } from './registry.ts';

const buckets = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

/** What the steps of process managers take, and how many fail. */
export const stepMetrics = (metrics: Metrics): StepObserver => {
  const durations = metrics.histogram({
    name: 'sendense_process_manager_step_duration_seconds',
    help: 'Time that the steps of jobs take',
    labels: ['process_manager', 'step'],
    buckets,
  });
  const failures = metrics.counter({
    name: 'sendense_process_manager_step_failures_total',
    help: 'Steps that failed; they are tried again, or end their job',
    labels: ['process_manager', 'step'],
  });
  return {
    step: async ({ processManager, step }, work) => {
      const labels = { process_manager: processManager, step };
      failures.inc(labels, 0);
      const stop = durations.startTimer(labels);
      try {
        return await work();
      } catch (error) {
        failures.inc(labels);
        throw error;
      } finally {
        stop();
      }
    },
  };
};
