import { z } from 'zod';
import type { EventStore } from '#commands/ports.ts';
import { DomainError } from '#domain/errors.ts';
import { narrateEvent, wordsOfType } from '#domain/narrate-event.ts';
import type { EventIndexQueries } from '#projections/event-index.ts';
import { type Cause, causesOf } from '../causes.ts';
import { answer, type Endpoint, resource } from '../route.ts';

export type EventCausesDeps = Readonly<{
  index: EventIndexQueries;
  store: Pick<EventStore, 'readForwards'>;
  /** Waits until the index holds what the log holds; headers for the reply. */
  caughtUp: (signal: AbortSignal) => Promise<Readonly<Record<string, string>>>;
}>;

const Node = z
  .object({
    kind: z.enum(['request', 'event']).meta({ description: 'A request is the root of what it led to; it is no event' }),
    id: z.string(),
    type: z.string().nullable(),
    stream: z.string().nullable(),
    revision: z.int().nullable(),
    position: z.string().nullable(),
    time: z.string(),
    actor: z.string(),
    text: z.string(),
    correlation_id: z.string().nullable(),
    children_count: z.int().meta({ description: 'How many events it led to, shown or not' }),
    next: z
      .string()
      .nullable()
      .meta({ description: 'Where its children that are not shown begin: ask for this id with it as `after`' }),
    get children() {
      return z.array(Node);
    },
  })
  .meta({ id: 'Cause' });

const Causes = z
  .object({
    event_id: z.string(),
    path: z.array(z.string()).meta({ description: 'Ids from the root down to the one that was asked for' }),
    root: Node,
    complete: z.boolean().meta({ description: 'False when something below the event is not shown' }),
  })
  .meta({ id: 'Causes' });

type Words = ReadonlyMap<string, string>;

const allOf = (cause: Cause): readonly Cause[] => [cause, ...cause.children.flatMap(allOf)];

/** What is in the log is told in its own words; what is truncated there only by its type. */
const wordsOf = async (store: EventCausesDeps['store'], root: Cause, signal: AbortSignal): Promise<Words> => {
  const words = new Map<string, string>();
  const events = allOf(root).flatMap(({ event }) => event ?? []);
  const byStream = Map.groupBy(events, ({ stream }) => stream);
  for (const [stream, wanted] of byStream) {
    const ids = new Set(wanted.map((event) => event.event_id));
    const revisions = wanted.map(({ revision }) => revision);
    const last = BigInt(Math.max(...revisions));
    for await (const each of store.readForwards(stream, BigInt(Math.min(...revisions)), signal)) {
      if (ids.has(each.id)) words.set(each.id, narrateEvent(each.event));
      if (each.revision >= last) break;
    }
  }
  return words;
};

const textOf = ({ event, actor }: Cause, words: Words): string =>
  event ? (words.get(event.event_id) ?? wordsOfType(event.type)) : `${actor} asked the hub.`;

/** After which position its children that are not shown begin. */
const nextOf = ({ children, hidden }: Cause, after: bigint): string | null =>
  hidden === 0 ? null : (children.at(-1)?.event?.position ?? after.toString());

type Shown = Readonly<{ words: Words; marker: (cause: Cause) => string | null }>;

const toWire = (cause: Cause, shown: Shown): z.input<typeof Node> => {
  const { id, event, time, actor } = cause;
  return {
    ...{ kind: event ? ('event' as const) : ('request' as const), id, time, actor },
    ...{ type: event?.type ?? null, stream: event?.stream ?? null, revision: event?.revision ?? null },
    ...{ position: event?.position ?? null, correlation_id: event?.correlation_id ?? null },
    ...{ text: textOf(cause, shown.words), children_count: cause.total, next: shown.marker(cause) },
    children: cause.children.map((child) => toWire(child, shown)),
  };
};

const number = (fallback: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,6}$/, 'must be a whole number')
    .optional()
    .transform((value) => Math.min(value === undefined ? fallback : Number(value), max));

const Query = z.object({
  depth: number(20, 50),
  limit: number(200, 1_000),
  after: z
    .string()
    .regex(/^\d{1,19}$/, 'must be what `next` said')
    .optional()
    .transform((value) => BigInt(value ?? '0')),
});

export const eventCausesEndpoints = ({ index, store, caughtUp }: EventCausesDeps): readonly Endpoint[] => {
  const { endpoint } = resource({ tag: 'Events', group: 'E1' });
  return [
    endpoint('GET /events/:id/causes', {
      summary: 'What led to an event, up to the request that began it, and everything that followed from it, as a tree',
      description:
        'Takes the id of an event or of a request. Above the event only what led to it is shown; ask for an id above to see ' +
        'the rest. Reports of progress are left out.',
      query: Query,
      reply: Causes,
      errors: ['event-not-found'],
      handle: async ({ params, query, signal }) => {
        const headers = await caughtUp(signal);
        const causes = await causesOf(index, params.id, { depth: query.depth, size: query.limit, after: query.after });
        if (!causes) throw new DomainError('event-not-found', `there is no event ${params.id}`, { eventId: params.id });
        const { root, asked, path } = causes;
        const below = new Set(allOf(asked));
        const marker = (cause: Cause): string | null =>
          below.has(cause) ? nextOf(cause, cause === asked ? query.after : 0n) : null;
        const words = await wordsOf(store, root, signal);
        const complete = query.after === 0n && [...below].every((cause) => marker(cause) === null);
        return answer(200, { event_id: params.id, path, root: toWire(root, { words, marker }), complete }, headers);
      },
    }),
  ];
};
