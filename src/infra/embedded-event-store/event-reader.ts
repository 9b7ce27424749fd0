import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { tombstoneRevision } from './recorded-event.ts';
import type { StreamHeads } from './stream-heads.ts';
import { firstVisibleRevision, isSoftDeleted, visibleSinceMs } from './stream-metadata.ts';

export type StoredEvent = Readonly<{
  position: number;
  revision: number;
  streamName: string;
  type: string;
  record: Uint8Array;
}>;

/** What a scan looked at: `record` is absent if the predicate did not want the event. */
export type ScannedEvent = Omit<StoredEvent, 'record'> & Readonly<{ record?: Uint8Array }>;

export type Direction = 'forwards' | 'backwards';

/** Inclusive at both ends, `from` <= `to` in either direction. */
export type Range = Readonly<{ from: number; to: number }>;

// A page is what a slow reader holds in memory; it ends at whichever comes first.
const maxPageRows = 400;
const maxPageBytes = 256 * 1024;

type Row = Record<string, unknown>;

const takePage = <T extends Readonly<{ record?: Uint8Array }>>(rows: Iterable<Row>, toEvent: (row: Row) => T): T[] => {
  const page: T[] = [];
  let sizeBytes = 0;
  for (const row of rows) {
    const event = toEvent(row);
    page.push(event);
    sizeBytes += event.record?.length ?? 0;
    if (sizeBytes >= maxPageBytes) break; // ends the statement too
  }
  return page;
};

const recordOf = (row: Row): Uint8Array => {
  if (row.record instanceof Uint8Array) return row.record;
  throw new Error('An event without its record: the database is damaged.');
};

/**
 * Hidden from $all: what a persistent subscription to $all stores about itself would otherwise be read by itself.
 */
const isHiddenFromAll = (streamName: string): boolean =>
  streamName.startsWith('$persistentsubscription-$all::') &&
  (streamName.endsWith('-checkpoint') || streamName.endsWith('-parked'));

/** Reads committed events in pages of bounded size. */
export class EventReader {
  readonly #heads: StreamHeads;
  readonly #stream: Readonly<Record<Direction, StatementSync>>;
  readonly #all: Readonly<Record<Direction, StatementSync>>;
  readonly #record: StatementSync;

  constructor(database: DatabaseSync, heads: StreamHeads) {
    this.#heads = heads;
    const stream = (order: 'asc' | 'desc') =>
      database.prepare(
        `select position, revision, type, record from events
         where stream = ? and revision between ? and ? and created_ms >= ? order by revision ${order} limit ${maxPageRows}`,
      );
    const all = (order: 'asc' | 'desc') =>
      database.prepare(
        `select position, revision, type, name from events join streams on streams.id = events.stream
         where position between ? and ? order by position ${order} limit ${maxPageRows}`,
      );
    this.#stream = { forwards: stream('asc'), backwards: stream('desc') };
    this.#all = { forwards: all('asc'), backwards: all('desc') };
    this.#record = database.prepare('select record from events where position = ?');
  }

  /** What a reader of the stream may see now; `to` is the last revision, `from` > `to` if nothing is visible. */
  visibleRange(streamName: string): Range {
    const { last } = this.#heads.get(streamName);
    return { from: firstVisibleRevision(this.#heads.metadata(streamName), last), to: last };
  }

  isDeleted(streamName: string): boolean {
    return this.#heads.isTombstoned(streamName);
  }

  /** Never written to, or soft-deleted. */
  isMissing(streamName: string): boolean {
    return this.#heads.get(streamName).last < 0 || isSoftDeleted(this.#heads.metadata(streamName));
  }

  streamPage(streamName: string, range: Range, direction: Direction): readonly StoredEvent[] {
    const { id } = this.#heads.get(streamName);
    const sinceMs = visibleSinceMs(this.#heads.metadata(streamName), Date.now());
    return this.#streamRows(streamName, direction, [id, range.from, range.to, sinceMs]);
  }

  /** Everything after `revision`, a tombstone included, whatever the metadata hides: for subscriptions that are live. */
  streamPageAfter(streamName: string, revision: number): readonly StoredEvent[] {
    const { id } = this.#heads.get(streamName);
    return this.#streamRows(streamName, 'forwards', [id, revision + 1, tombstoneRevision, 0]);
  }

  /** A visible event, as a link finds it. */
  streamEvent(streamName: string, revision: number): StoredEvent | undefined {
    const visible = this.visibleRange(streamName);
    if (revision < visible.from || revision > visible.to || this.isDeleted(streamName)) return undefined;
    return this.streamPage(streamName, { from: revision, to: revision }, 'forwards')[0];
  }

  /** In the order of the log. Reads the payload only of the events that `wanted` accepts. */
  allPage(range: Range, direction: Direction, wanted: (streamName: string, type: string) => boolean): ScannedEvent[] {
    const rows = this.#all[direction].iterate(range.from, range.to);
    return takePage(rows, (row): ScannedEvent => {
      const event = {
        position: Number(row.position),
        revision: Number(row.revision),
        streamName: String(row.name),
        type: String(row.type),
      };
      if (isHiddenFromAll(event.streamName) || !wanted(event.streamName, event.type)) return event;
      return { ...event, record: recordOf(this.#record.get(event.position) ?? {}) };
    });
  }

  #streamRows(streamName: string, direction: Direction, parameters: readonly number[]): readonly StoredEvent[] {
    return takePage(this.#stream[direction].iterate(...parameters), (row) => ({
      position: Number(row.position),
      revision: Number(row.revision),
      streamName,
      type: String(row.type),
      record: recordOf(row),
    }));
  }
}
