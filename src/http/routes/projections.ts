import { z } from 'zod';
import type { CommandContext } from '#commands/ports.ts';
import { DomainError } from '#domain/errors.ts';
import type { Difference } from '#projections/equality.ts';
import type { FollowedLog } from '#projections/followed-log.ts';
import type { ParkedStream, ParkedStreamQueries } from '#projections/parked-streams.ts';
import type { RebuildProgress } from '#projections/rebuild-record.ts';
import { answer, type Endpoint, resource } from '../route.ts';

type Place = Readonly<{ projection: string; stream: string }>;
type Decided = Promise<Readonly<{ position: bigint | undefined }>>;

export type ProjectionStatus = Readonly<{ name: string; tables: readonly string[] }>;

export type ProjectionRoutesDeps = Readonly<{
  projections: readonly ProjectionStatus[];
  status: () => Promise<
    Readonly<{ position: bigint; head: bigint; problem: string | null; log: FollowedLog | undefined }>
  >;
  parked: ParkedStreamQueries;
  rebuilds: Readonly<{
    start: (name: string, requestedBy: string) => Promise<RebuildProgress>;
    progress: () => Promise<RebuildProgress | undefined>;
    cancel: () => Promise<void>;
    check: (name: string, signal: AbortSignal) => Promise<readonly Difference[]>;
  }>;
  retry: (place: Place, context: CommandContext) => Decided;
  skip: (place: Place, reason: string, context: CommandContext) => Decided;
  settled: (position: bigint | undefined) => Promise<Readonly<Record<string, string>>>;
}>;

const Rebuild = z
  .object({
    id: z.string(),
    state: z.enum(['running', 'completed', 'failed', 'cancelled', 'interrupted']),
    projections: z.array(z.string()),
    requested_by: z.string(),
    started_at: z.string(),
    ended_at: z.string().nullable(),
    events_done: z.int(),
    events_total: z.int().meta({ description: 'An estimate where positions of the log are no count' }),
    events_per_second: z.int(),
    seconds_left: z.int().nullable(),
    error: z.string().nullable(),
  })
  .meta({ id: 'ProjectionRebuild' });

const Log = z
  .object({
    followed_since: z.string(),
    begun_anew_because: z
      .string()
      .nullable()
      .meta({ description: 'Why the tables were of another log and were built anew then; null where they were not' }),
  })
  .meta({ id: 'FollowedLog' });

const Parked = z
  .object({
    projection: z.string(),
    stream: z.string(),
    event_id: z.string(),
    event_type: z.string(),
    revision: z.int(),
    position: z.string(),
    error: z.string(),
    recorded_at: z.string(),
    parked_at: z.string(),
    attempts: z.int(),
    waiting: z.int().meta({ description: 'Later events of the stream, which wait behind it' }),
  })
  .meta({ id: 'ParkedStream' });

const Compared = z.object({
  projection: z.string(),
  table: z.string(),
  rows: z.int(),
  only_live: z.int(),
  only_rebuilt: z.int(),
  examples: z.object({ live: z.array(z.unknown()), rebuilt: z.array(z.unknown()) }),
});

const rebuildToWire = (rebuild: RebuildProgress): z.input<typeof Rebuild> => ({
  ...{ id: rebuild.id, state: rebuild.state, projections: [...rebuild.projections], error: rebuild.error },
  ...{ requested_by: rebuild.requestedBy, started_at: rebuild.startedAt, ended_at: rebuild.endedAt },
  ...{ events_done: rebuild.eventsDone, events_total: rebuild.eventsTotal },
  ...{ events_per_second: rebuild.ratePerSecond, seconds_left: rebuild.secondsLeft },
});

const logToWire = (log: FollowedLog | undefined): z.input<typeof Log> | null =>
  log ? { followed_since: log.since, begun_anew_because: log.reason } : null;

const parkedToWire = (parked: ParkedStream): z.input<typeof Parked> => ({
  ...{ projection: parked.projection, stream: parked.stream, event_id: parked.eventId, event_type: parked.eventType },
  ...{ revision: parked.revision, position: parked.position, error: parked.error, recorded_at: parked.recordedAt },
  ...{ parked_at: parked.parkedAt, attempts: parked.attempts, waiting: parked.waiting },
});

const comparedToWire = (compared: Difference): z.input<typeof Compared> => ({
  ...{ projection: compared.projection, table: compared.table, rows: compared.rows },
  ...{ only_live: compared.onlyLive, only_rebuilt: compared.onlyRebuilt },
  examples: { live: [...compared.examples.live], rebuilt: [...compared.examples.rebuilt] },
});

const aliveEveryMs = 5_000;

const line = (value: object): string => `${JSON.stringify(value)}\n`;

/** A comparison may take minutes: lines before its result keep the connection from being taken for dead. */
async function* checkLines(deps: ProjectionRoutesDeps, name: string, signal: AbortSignal) {
  const checking = deps.rebuilds.check(name, signal).then(
    (compared) => ({
      state: 'completed' as const,
      identical: compared.every(({ onlyLive, onlyRebuilt }) => onlyLive + onlyRebuilt === 0),
      tables: compared.map(comparedToWire),
    }),
    (error: unknown) => {
      if (error instanceof DomainError) return { state: 'failed' as const, error: error.message };
      return { state: 'failed' as const, error: 'the comparison failed; the log of the hub says why' };
    },
  );
  yield line({ state: 'running' });
  for (;;) {
    const { promise: tick, resolve } = Promise.withResolvers<undefined>();
    const timer = setTimeout(() => resolve(undefined), aliveEveryMs);
    const result = await Promise.race([checking, tick]);
    clearTimeout(timer);
    yield line(result ?? { state: 'running' });
    if (result) return;
  }
}

const projectionEndpoints = (deps: ProjectionRoutesDeps): readonly Endpoint[] => {
  const { endpoint, stream } = resource({ tag: 'Read models', group: 'E1' });
  const begun = async (name: string, actor: string) => rebuildToWire(await deps.rebuilds.start(name, actor));
  const newest = async () => {
    const rebuild = await deps.rebuilds.progress();
    return { rebuild: rebuild ? rebuildToWire(rebuild) : null };
  };
  return [
    endpoint('GET /admin/projections', {
      summary: 'All read models, how far each is, what is parked, and the newest rebuild',
      reply: z.object({
        position: z.string(),
        head: z.string(),
        problem: z.string().nullable(),
        log: Log.nullable().meta({ description: 'The event log that the tables are of' }),
        projections: z.array(z.object({ name: z.string(), tables: z.array(z.string()), parked_streams: z.int() })),
        rebuild: Rebuild.nullable(),
      }),
      handle: async () => {
        const [{ position, head, problem, log }, counts] = await Promise.all([deps.status(), deps.parked.counts()]);
        const projections = deps.projections.map(({ name, tables }) => ({
          ...{ name, tables: [...tables], parked_streams: counts.get(name) ?? 0 },
        }));
        const facts = { position: position.toString(), head: head.toString(), problem, log: logToWire(log) };
        return { ...facts, projections, ...(await newest()) };
      },
    }),
    endpoint('POST /admin/projections/:name/rebuild', {
      summary: 'Builds a read model (or "all") anew beside the live one, which it then replaces',
      audit: { action: 'RebuildProjection', object: 'projection', id: ['path.name'] },
      reply: Rebuild,
      status: 202,
      errors: ['projection-not-found', 'rebuild-running'],
      handle: async ({ params, actor }) => answer(202, await begun(params.name, actor)),
    }),
    endpoint('GET /admin/projections/:name/rebuild', {
      summary: 'How the newest rebuild gets on, whichever read models it builds',
      reply: z.object({ rebuild: Rebuild.nullable() }),
      handle: newest,
    }),
    endpoint('DELETE /admin/projections/:name/rebuild', {
      summary: 'Cancels the rebuild that is under way; nothing has changed then',
      audit: { action: 'CancelRebuild', object: 'projection', id: ['path.name'] },
      reply: z.object({ rebuild: Rebuild.nullable() }),
      errors: ['rebuild-not-running'],
      handle: async () => {
        await deps.rebuilds.cancel();
        return newest();
      },
    }),
    stream('POST /admin/projections/:name/check', {
      summary: 'Compares every row with what the log gives; lines of JSON, the last one is the result',
      audit: { action: 'CheckProjection', object: 'projection', id: ['path.name'] },
      errors: ['projection-not-found', 'rebuild-running'],
      contentType: 'application/x-ndjson',
      handle: async ({ params, signal }) => ({ body: checkLines(deps, params.name, signal) }),
    }),
  ];
};

const Reason = z.object({
  reason: z.string().trim().min(1).max(1000).meta({ description: 'Why the event is left out; kept for the audit' }),
});

const parkedEndpoints = (deps: ProjectionRoutesDeps): readonly Endpoint[] => {
  const { endpoint } = resource({ tag: 'Read models', group: 'E1' });
  const one = (name: string): string => {
    if (deps.projections.some((projection) => projection.name === name)) return name;
    throw new DomainError('projection-not-found', `there is no read model "${name}"`, { projection: name });
  };
  const known = (name: string): string | undefined => (name === 'all' ? undefined : one(name));
  /** Whether the decision brought it through: the stream is parked no more, or by which event it still is. */
  const after = async (place: Place, decided: Decided) => {
    const headers = await deps.settled((await decided).position);
    const parked = await deps.parked.find(place.projection, place.stream);
    return answer(200, { applied: parked === undefined, parked: parked ? parkedToWire(parked) : null }, headers);
  };
  const Outcome = z.object({ applied: z.boolean(), parked: Parked.nullable() });
  return [
    endpoint('GET /admin/projections/:name/parked', {
      summary: 'Streams with an event that the read model (or "all") could not apply',
      reply: z.object({ parked: z.array(Parked), count: z.int() }),
      errors: ['projection-not-found'],
      handle: async ({ params }) => {
        const parked = (await deps.parked.list(known(params.name))).map(parkedToWire);
        return { parked, count: parked.length };
      },
    }),
    endpoint('POST /admin/projections/:name/parked/:stream/retry', {
      summary: 'Applies the events of a parked stream again, in order; it is parked again if one still fails',
      audit: { action: 'RetryParkedStream', object: 'projection', id: ['path.name'] },
      reply: Outcome,
      errors: ['projection-not-found', 'stream-not-parked'],
      handle: ({ params, context }) => {
        const place = { projection: one(params.name), stream: params.stream };
        return after(place, deps.retry(place, context()));
      },
    }),
    endpoint('POST /admin/projections/:name/parked/:stream/skip', {
      summary: 'Leaves out the event that holds a parked stream up, for good, and applies those behind it',
      audit: { action: 'SkipPoisonEvent', object: 'projection', id: ['path.name'], facts: ['reason'] },
      body: Reason,
      reply: Outcome,
      errors: ['projection-not-found', 'stream-not-parked'],
      handle: ({ params, body, context }) => {
        const place = { projection: one(params.name), stream: params.stream };
        return after(place, deps.skip(place, body.reason, context()));
      },
    }),
  ];
};

export const readModelEndpoints = (deps: ProjectionRoutesDeps): readonly Endpoint[] => [
  ...projectionEndpoints(deps),
  ...parkedEndpoints(deps),
];
