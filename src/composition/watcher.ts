import type { RequestObserver } from '#http/observe.ts';
import type { EventStoreObserver } from '#infra/observed/event-store.ts';
import type { StepObserver } from '#process-managers/ports.ts';
import type { BatchObserver } from '#projections/ports.ts';

/** Somebody who looks on at every port that is worth it. */
export type Watcher = Readonly<{
  requests: RequestObserver;
  eventStore: EventStoreObserver;
  batches: BatchObserver;
  steps: StepObserver;
}>;
