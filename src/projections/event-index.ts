import type { DomainEvent } from '#domain/decider.ts';
import type { Handler, Projection, ReadModelDb } from './projection.ts';

/** Where each event is and what caused it. Reports of progress are left out: many, bounded, and nothing follows from one. */
export type EventIndexTable = {
  event_id: string;
  /** Log positions exceed 2^53 on a real cluster: text in the program, numeric in the table. */
  position: string;
  stream: string;
  revision: number;
  type: string;
  recorded_at: string;
  actor: string;
  correlation_id: string | null;
  /** The id of an event, or of the request that led to this one. */
  causation_id: string | null;
};

const leftOut: ReadonlySet<string> = new Set([
  'ProgressReported',
  // Of these the log keeps the newest only, so a rebuilt index would not have the others.
  'RepositoryStorageMeasured',
  'VmwareCredentialUsed',
]);

/** Whether the log keeps events of that type for good: the others are in streams that hold a bounded number. */
export const isLasting = (type: string): boolean => !leftOut.has(type);

const indexed =
  (type: string): Handler<DomainEvent> =>
  ({ id, position, stream, revision, recordedAt, metadata }, db) => [
    db.insertInto('event_index').values({
      ...{ event_id: id, position: position.toString(), stream, revision: Number(revision), type },
      ...{ recorded_at: recordedAt, actor: metadata.by },
      ...{ correlation_id: metadata.$correlationId ?? null, causation_id: metadata.$causationId ?? null },
    }),
  ];

/** Of every type that the hub knows: an index has no types of its own. */
export const eventIndexProjection = (types: readonly string[]): Projection => ({
  name: 'event-index.v1',
  tables: {
    event_index: [
      `create table event_index (
        position numeric(20) primary key, event_id text not null, stream text not null, revision bigint not null,
        type text not null, recorded_at timestamptz not null, actor text not null, correlation_id text,
        causation_id text)`,
      // Ids are random: hashes of them take a third of the room, and an index that grows with history stays in memory longer.
      'create index event_index_by_id on event_index using hash (event_id)',
      'create index event_index_by_cause on event_index (causation_id, position)',
      'create index event_index_by_time on event_index (recorded_at, position)',
    ],
  },
  on: Object.fromEntries(types.filter(isLasting).map((type) => [type, indexed(type)])),
});

export type IndexedEvent = EventIndexTable;

export const eventIndexQueries = (db: ReadModelDb) => {
  const events = () => db.selectFrom('event_index').selectAll();
  return {
    find: (eventId: string): Promise<IndexedEvent | undefined> =>
      events().where('event_id', '=', eventId).executeTakeFirst(),
    /** What any of these ids led to, in log order, at most `limit`. */
    causedBy: (ids: readonly string[], after: bigint, limit: number): Promise<readonly IndexedEvent[]> =>
      ids.length === 0
        ? Promise.resolve([])
        : events()
            .where('causation_id', 'in', ids)
            .where('position', '>', after.toString())
            .orderBy('position')
            .limit(limit)
            .execute(),
    /** How many events after that position each of these ids led to. */
    countCausedBy: async (ids: readonly string[], after: bigint): Promise<ReadonlyMap<string, number>> => {
      if (ids.length === 0) return new Map();
      const rows = await db
        .selectFrom('event_index')
        .select((eb) => ['causation_id', eb.fn.countAll<number>().as('count')])
        .where('causation_id', 'in', ids)
        .where('position', '>', after.toString())
        .groupBy('causation_id')
        .execute();
      return new Map(rows.map((row) => [row.causation_id ?? '', Number(row.count)]));
    },
    /** The last one that was recorded at or before that time. */
    lastAt: (time: string) =>
      events()
        .where('recorded_at', '<=', time)
        .orderBy('recorded_at', 'desc')
        .orderBy('position', 'desc')
        .limit(1)
        .executeTakeFirst(),
    /** The last one at or before that position. */
    lastBefore: (position: bigint) =>
      events().where('position', '<=', position.toString()).orderBy('position', 'desc').limit(1).executeTakeFirst(),
  };
};

export type EventIndexQueries = ReturnType<typeof eventIndexQueries>;
