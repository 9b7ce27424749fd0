import { sql } from 'kysely';
import type { RecordedEvent, UnreadableRecord } from '#domain/recorded-event.ts';
import type { ReadModelDb, Statement } from './projection.ts';
import { compiling } from './statements.ts';

export type AnyRecord = RecordedEvent | UnreadableRecord;

export const isReadable = (record: AnyRecord): record is RecordedEvent => 'event' in record;
export const typeOf = (record: AnyRecord): string => (isReadable(record) ? record.event.type : record.type);

type Waiting = Readonly<{ headRevision: bigint; attempts: number; waiting: number; lastRevision: bigint }>;

/** So many at once are no poison events: the projection itself is broken, and to go on would only park everything. */
const mostParked = 1_000;
const longestError = 2_000;

export class TooManyParked extends Error {
  constructor(projection: string) {
    super(`${projection} has parked ${mostParked} streams: the read model itself seems broken, so it stops here`);
    this.name = 'TooManyParked';
  }
}

/** The parked streams of some generations within one transaction; what changed is written by `statements`. */
export class ParkedStreams {
  readonly #bySchema = new Map<string, Map<string, Waiting>>();
  readonly #changes: Statement[] = [];
  /** Written once at the end, however many events came to wait. */
  readonly #grown = new Map<string, Readonly<{ schema: string; stream: string }>>();
  readonly #recounted = new Set<string>();

  /** All parked streams of these generations. */
  static async load(tx: ReadModelDb, schemas: readonly string[]): Promise<ParkedStreams> {
    const parked = new ParkedStreams();
    if (schemas.length === 0) return parked;
    const rows = await tx.selectFrom('parked_streams').selectAll().where('projection', 'in', schemas).execute();
    for (const row of rows) {
      parked.#of(row.projection).set(row.stream, {
        headRevision: BigInt(row.head_revision),
        attempts: row.attempts,
        waiting: row.waiting,
        lastRevision: BigInt(row.last_revision),
      });
    }
    return parked;
  }

  #of(schema: string): Map<string, Waiting> {
    const streams = this.#bySchema.get(schema) ?? new Map<string, Waiting>();
    this.#bySchema.set(schema, streams);
    return streams;
  }

  get(schema: string, stream: string): Waiting | undefined {
    return this.#bySchema.get(schema)?.get(stream);
  }

  /** One more event of a parked stream. */
  wait(schema: string, { stream, revision }: AnyRecord): void {
    const parked = this.get(schema, stream);
    if (!parked) return;
    this.#of(schema).set(stream, { ...parked, waiting: parked.waiting + 1, lastRevision: revision });
    this.#grown.set(`${schema}\n${stream}`, { schema, stream });
  }

  park(schema: string, record: AnyRecord, error: string, attempts = 1): void {
    const streams = this.#of(schema);
    if (streams.size >= mostParked) throw new TooManyParked(schema);
    const { stream, revision, position, id, recordedAt } = record;
    streams.set(stream, { headRevision: revision, attempts, waiting: 0, lastRevision: revision });
    this.#recounted.add(schema);
    this.#changes.push(
      compiling.insertInto('parked_streams').values({
        ...{ projection: schema, stream, head_revision: `${revision}`, head_position: `${position}` },
        ...{ event_id: id, event_type: typeOf(record), error: printable(error), recorded_at: recordedAt },
        ...{ parked_at: sql`now()`, attempts, waiting: 0, last_revision: `${revision}` },
      }),
    );
  }

  release(schema: string, stream: string): void {
    this.#of(schema).delete(stream);
    this.#grown.delete(`${schema}\n${stream}`);
    this.#recounted.add(schema);
    this.#changes.push(
      compiling.deleteFrom('parked_streams').where('projection', '=', schema).where('stream', '=', stream),
    );
  }

  statements(): readonly Statement[] {
    const grown = [...this.#grown.values()].flatMap(({ schema, stream }) => {
      const parked = this.get(schema, stream);
      if (!parked) return [];
      const { waiting, lastRevision } = parked;
      return [
        compiling
          .updateTable('parked_streams')
          .set({ waiting, last_revision: `${lastRevision}` })
          .where('projection', '=', schema)
          .where('stream', '=', stream),
      ];
    });
    const counts = [...this.#recounted].map((schema) =>
      compiling
        .updateTable('checkpoints')
        .set({ parked: this.#of(schema).size })
        .where('projection', '=', schema),
    );
    return [...this.#changes, ...grown, ...counts];
  }
}

/** Texts of errors hold whatever was in the event; PostgreSQL refuses NUL. */
const printable = (text: string): string => text.replaceAll(/\p{Cc}+/gu, ' ').slice(0, longestError);
