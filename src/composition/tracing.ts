import type { Logger } from 'pino';
import type { Config } from '#infra/config.ts';
import type { Fetch } from '#infra/sna-request.ts';
import type { Watcher } from './watcher.ts';

export type RunningTracing = Readonly<{
  watcher: Watcher;
  fetch: Fetch;
  /** Sends what is left, for a bounded time. */
  stop: () => Promise<void>;
}>;

type Deps = Readonly<{ config: Pick<Config, 'observability' | 'nodeName'>; version: string; log: Logger }>;

/** Spans, where a collector is told; else nothing is made and nothing of it loaded. */
export const startTracing = async ({ config, version, log }: Deps): Promise<RunningTracing | undefined> => {
  const { otlpEndpoint } = config.observability;
  if (otlpEndpoint === undefined) return undefined;
  const { createTracing } = await import('#infra/tracing/tracing.ts');
  const { createWatcher } = await import('#infra/tracing/watcher.ts');
  const tracing = createTracing({ endpoint: otlpEndpoint, version, instance: config.nodeName, log });
  return { ...createWatcher(tracing.spans), stop: tracing.stop };
};
