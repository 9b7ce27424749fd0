import { z } from 'zod';
import type { Clock } from '#commands/ports.ts';
import type { Log } from '../log.ts';
import { answer, type Endpoint, resource } from '../route.ts';

export type HealthReport = Readonly<{
  eventStore: Connection;
  database: Connection;
  projections: readonly Readonly<{ name: string; lagEvents: number; lagSeconds: number; running: boolean }>[];
  processManagers: readonly Readonly<{ name: string; running: boolean; openJobs: number }>[];
}>;

export type Connection = Readonly<{ connected: boolean; kind: 'embedded' | 'external' }>;

/** Looks at the hub's parts now. May be slow or throw: the endpoint bounds it and takes both for not connected. */
export interface HealthSource {
  report(signal: AbortSignal): Promise<HealthReport>;
}

export type HealthRoutesDeps = Readonly<{
  health: HealthSource;
  clock: Clock;
  version: string;
  log: Log;
  timeoutMs?: number;
}>;

const ConnectionReply = z.object({
  status: z.enum(['connected', 'disconnected']),
  kind: z.enum(['embedded', 'external', 'unknown']),
});

const Health = z.object({
  service: z.literal('SHA API'),
  status: z.enum(['healthy', 'degraded']),
  timestamp: z.iso.datetime(),
  version: z.string(),
  database: z.enum(['connected', 'disconnected']),
  event_store: ConnectionReply,
  read_database: ConnectionReply,
  projections: z.array(
    z.object({ name: z.string(), running: z.boolean(), lag_events: z.number(), lag_seconds: z.number() }),
  ),
  process_managers: z.array(z.object({ name: z.string(), running: z.boolean(), open_jobs: z.number() })),
});

const silent: Readonly<{ connected: false; kind: 'unknown' }> = { connected: false, kind: 'unknown' };
const nothing = { eventStore: silent, database: silent, projections: [], processManagers: [] } as const;

export const healthEndpoints = (deps: HealthRoutesDeps): readonly Endpoint[] => {
  const { endpoint } = resource({ tag: 'Health', group: 'E1', auth: 'public' });
  return [
    endpoint('GET /health', {
      summary: 'Whether the hub can do its work: event store, database, projections, process managers',
      base: 'root',
      reply: Health,
      otherReplies: { 503: Health },
      handle: async ({ signal }) => {
        const report = await boundedReport(deps, signal);
        const healthy = report.eventStore.connected && report.database.connected;
        const body = toWire(report, { healthy, timestamp: deps.clock.now(), version: deps.version });
        return healthy ? body : answer(503, body);
      },
    }),
  ];
};

type AnyReport = HealthReport | typeof nothing;

/** An answer that comes too late is none. */
const boundedReport = async (deps: HealthRoutesDeps, signal: AbortSignal): Promise<AnyReport> => {
  const bounded = AbortSignal.any([signal, AbortSignal.timeout(deps.timeoutMs ?? 2_000)]);
  const { promise: tooLate, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(bounded.reason);
  bounded.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([deps.health.report(bounded), tooLate]);
  } catch (error) {
    if (!signal.aborted) deps.log.warn({ err: error }, 'health could not be told');
    return nothing;
  } finally {
    bounded.removeEventListener('abort', onAbort);
  }
};

type Facts = Readonly<{ healthy: boolean; timestamp: string; version: string }>;

const toWire = (report: AnyReport, { healthy, timestamp, version }: Facts): z.input<typeof Health> => ({
  service: 'SHA API',
  status: healthy ? 'healthy' : 'degraded',
  timestamp,
  version,
  database: healthy ? 'connected' : 'disconnected',
  event_store: connection(report.eventStore),
  read_database: connection(report.database),
  projections: report.projections.map(({ name, running, lagEvents, lagSeconds }) => ({
    name,
    running,
    lag_events: lagEvents,
    lag_seconds: lagSeconds,
  })),
  process_managers: report.processManagers.map(({ name, running, openJobs }) => ({
    name,
    running,
    open_jobs: openJobs,
  })),
});

const connection = ({ connected, kind }: Connection | typeof silent) => ({
  status: connected ? ('connected' as const) : ('disconnected' as const),
  kind,
});
