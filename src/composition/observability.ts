import type { Logger } from 'pino';
import type { Config } from '#infra/config.ts';
import { type FeedReader, observeFeed } from '#infra/observed/event-feed.ts';
import { observeEventStore } from '#infra/observed/event-store.ts';
import type { Fetch } from '#infra/sna-request.ts';
import type { StepFacts, StepObserver } from '#process-managers/ports.ts';
import type { BatchObserver } from '#projections/ports.ts';
import { createHubMetrics } from './metrics.ts';
import type { Stores } from './stores.ts';
import { startTracing } from './tracing.ts';
import type { Watcher } from './watcher.ts';

export type Observability = Awaited<ReturnType<typeof startObservability>>;

/** The work as all watchers see it; the first one is the innermost. */
const watched = <T>(
  watchers: readonly Watcher[],
  around: (watcher: Watcher, inner: () => Promise<T>) => Promise<T>,
  work: () => Promise<T>,
): Promise<T> => watchers.reduce((inner, watcher) => () => around(watcher, inner), work)();

const watchSteps = (watchers: readonly Watcher[]): StepObserver => ({
  step: <T>(facts: StepFacts, work: () => Promise<T>) =>
    watched(watchers, ({ steps }, inner) => steps.step(facts, inner), work),
});

const watchBatches = (watchers: readonly Watcher[]): BatchObserver => ({
  batch: (events, apply) => watched(watchers, ({ batches }, inner) => batches.batch(events, inner), apply),
});

/** Metrics always, spans where a collector is told. Whatever is not watched runs as if nobody could. */
export const startObservability = async (deps: Readonly<{ config: Config; version: string; log: Logger }>) => {
  const hubMetrics = createHubMetrics(deps);
  const tracing = await startTracing(deps);
  const watchers = [hubMetrics.watcher, ...(tracing ? [tracing.watcher] : [])];
  return {
    ...hubMetrics,
    stores: (stores: Stores): Stores => ({
      ...stores,
      store: watchers.reduce((inner, { eventStore }) => observeEventStore(inner, eventStore), stores.store),
    }),
    /** The same stores for one who follows the log. */
    readBy: (reader: FeedReader, stores: Stores): Stores => ({
      ...stores,
      feed: observeFeed(stores.feed, reader, hubMetrics.feed),
    }),
    steps: watchSteps(watchers),
    batches: watchBatches(watchers),
    /** The outermost first. */
    requests: watchers.map(({ requests }) => requests).toReversed(),
    /** For calls to node appliances; undefined: the platform's own. */
    fetch: tracing?.fetch as Fetch | undefined,
    /** Sends what is left. */
    close: async (): Promise<void> => tracing?.stop(),
  };
};
