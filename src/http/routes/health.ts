import { z } from 'zod';
import type { Clock } from '#commands/ports.ts';
import type { Log } from '../log.ts';
import { answer, type Endpoint, resource } from '../route.ts';

export type HealthReport = Readonly<{
  eventStore: Connection;
  database: Connection;
  projections: readonly Readonly<{
    name: string;
    lagEvents: number;
    lagSeconds: number;
    running: boolean;
    /** Streams that it does not apply until somebody has decided about an event. */
    parkedStreams: number;
  }>[];
  processManagers: readonly Readonly<{ name: string; running: boolean; openJobs: number }>[];
  /** Entries of the audit trail that are not on disk yet, and why. */
  audit?: Readonly<{ waiting: number; problem: string | null }>;
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
    z.object({
      ...{ name: z.string(), running: z.boolean(), lag_events: z.number(), lag_seconds: z.number() },
      parked_streams: z.int().meta({ description: 'Which ones: GET /api/v1/admin/projections/all/parked' }),
    }),
  ),
  process_managers: z.array(z.object({ name: z.string(), running: z.boolean(), open_jobs: z.number() })),
  audit: z
    .object({
      status: z.enum(['recording', 'behind']),
      waiting: z.int().meta({ description: 'Entries of the audit trail that are not on disk yet' }),
    })
    .optional(),
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
  // What is parked is out of date and the rest works: told, but no reason to send requests elsewhere.
  status: healthy && report.projections.every(({ parkedStreams }) => parkedStreams === 0) ? 'healthy' : 'degraded',
  timestamp,
  version,
  database: healthy ? 'connected' : 'disconnected',
  event_store: connection(report.eventStore),
  read_database: connection(report.database),
  projections: report.projections.map(({ name, running, lagEvents, lagSeconds, parkedStreams }) => ({
    name,
    running,
    lag_events: lagEvents,
    lag_seconds: lagSeconds,
    parked_streams: parkedStreams,
  })),
  process_managers: report.processManagers.map(({ name, running, openJobs }) => ({
    name,
    running,
    open_jobs: openJobs,
  })),
  ...('audit' in report && report.audit ? { audit: auditToWire(report.audit) } : {}),
});

/** The reason is for the log: this answer is public. */
const auditToWire = ({ problem, waiting }: NonNullable<HealthReport['audit']>) => ({
  status: problem === null ? ('recording' as const) : ('behind' as const),
  waiting,
});

const connection = ({ connected, kind }: Connection | typeof silent) => ({
  status: connected ? ('connected' as const) : ('disconnected' as const),
  kind,
});
