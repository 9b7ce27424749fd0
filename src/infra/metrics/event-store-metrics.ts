import { RevisionConflict, StoreUnavailable } from '#commands/ports.ts';
import type { BatchObserver } from '#projections/ports.ts';
import type { FeedObserver } from '../observed/event-feed.ts';
import type { EventStoreObserver } from '../observed/event-store.ts';
import type { Metrics } from './registry.ts';

// From a commit on flash to the time after which a client gives up.
const buckets = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10];

const outcomes = ['done', 'conflict', 'unavailable', 'failed'] as const;

const outcomeOf = (error: unknown): (typeof outcomes)[number] => {
  if (error instanceof RevisionConflict) return 'conflict';
  return error instanceof StoreUnavailable ? 'unavailable' : 'failed';
};

/** How long the event store takes, and what came of it. */
export const eventStoreMetrics = (metrics: Metrics): EventStoreObserver => {
  const operations = metrics.counter({
    name: 'sendense_event_store_operations_total',
    help: 'Appends and reads by outcome; a conflict is decided again, unavailable is after all repeats',
    labels: ['operation', 'outcome'],
  });
  const durations = metrics.histogram({
    name: 'sendense_event_store_operation_duration_seconds',
    help: 'Time until an append was durable, or until the first events of a read were there',
    labels: ['operation'],
    buckets,
  });
  const events = metrics.counter({ name: 'sendense_event_store_appended_events_total', help: 'Events appended' });
  for (const operation of ['append', 'read']) {
    for (const outcome of outcomes) operations.inc({ operation, outcome }, 0);
    durations.zero({ operation });
  }
  const timed = async <T>(operation: 'append' | 'read', work: () => Promise<T>): Promise<T> => {
    const startedAtMs = performance.now();
    try {
      const result = await work();
      operations.inc({ operation, outcome: 'done' });
      return result;
    } catch (error) {
      operations.inc({ operation, outcome: outcomeOf(error) });
      throw error;
    } finally {
      durations.observe({ operation }, (performance.now() - startedAtMs) / 1000);
    }
  };
  return {
    append: async (facts, work) => {
      const result = await timed('append', work);
      events.inc(facts.events.length);
      return result;
    },
    read: (_stream, work) => timed('read', work),
  };
};

/** Who follows the log. */
export const feedMetrics = (metrics: Metrics): FeedObserver => {
  const open = metrics.gauge({
    name: 'sendense_event_store_subscriptions',
    help: 'Open subscriptions to the log',
    labels: ['reader'],
  });
  const restarts = metrics.counter({
    name: 'sendense_event_store_subscription_restarts_total',
    help: 'Subscriptions that broke and were opened again, because of the store or of what their reader did',
    labels: ['reader'],
  });
  for (const reader of ['read-model', 'process-managers', 'clients']) {
    open.set({ reader }, 0);
    restarts.inc({ reader }, 0);
  }
  return {
    opened: (reader) => open.inc({ reader }),
    closed: (reader, broken) => {
      open.dec({ reader });
      if (broken) restarts.inc({ reader });
    },
  };
};

/** How the read models get on with the log. */
export const batchMetrics = (metrics: Metrics): BatchObserver => {
  const applied = metrics.counter({
    name: 'sendense_projection_events_applied_total',
    help: 'Events of the log that the read models have taken; all projections take them together',
  });
  const batches = metrics.histogram({
    name: 'sendense_projection_batch_duration_seconds',
    help: 'Time that the read models took for one transaction',
    buckets,
  });
  return {
    batch: async ({ events }, apply) => {
      const startedAtMs = performance.now();
      await apply();
      applied.inc(events.length);
      batches.observe((performance.now() - startedAtMs) / 1000);
    },
  };
};
