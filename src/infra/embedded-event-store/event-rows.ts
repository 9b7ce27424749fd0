import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { headerSum, recordSum } from './checksums.ts';
import type { DamageReporter } from './damage.ts';
import type { Gaps } from './gaps.ts';
import type { LogTail } from './log-tail.ts';
import { tombstoneRevision } from './recorded-event.ts';
import type { StreamHead } from './stream-row.ts';

export type Direction = 'forwards' | 'backwards';

/** Inclusive at both ends, `from` <= `to` in either direction. */
export type Range = Readonly<{ from: number; to: number }>;

export type EventHeader = Readonly<{
  position: number;
  streamId: number;
  revision: number;
  createdMs: number;
  type: string;
  headerSum: number;
}>;

export type EventRow = EventHeader & Readonly<{ record: Uint8Array }>;

// A page is what a slow reader holds in memory; it ends at whichever comes first.
const maxPageRows = 400;
const maxPageBytes = 256 * 1024;

const headerColumns = 'position, stream, revision, created_ms, type, header_sum';
const order = { forwards: 'asc', backwards: 'desc' } as const;

type Row = Record<string, unknown>;

type Parts = Readonly<{ database: DatabaseSync; tail: LogTail; gaps: Gaps; damage: DamageReporter }>;

/**
 * The rows of the events as they were written, or `StoreDamaged`: each is checked against its sums, and each page for
 * events that are not there. Within a stream revisions follow each other from its first to its last; in the log a
 * position without an event must be a known gap.
 */
export class EventRows {
  readonly #damage: DamageReporter;
  readonly #tail: LogTail;
  readonly #gaps: Gaps;
  readonly #ofStream: Readonly<Record<Direction, StatementSync>>;
  readonly #ofLog: Readonly<Record<Direction, StatementSync>>;
  readonly #headersOfStream: StatementSync;
  readonly #record: StatementSync;

  constructor({ database, tail, gaps, damage }: Parts) {
    this.#damage = damage;
    this.#tail = tail;
    this.#gaps = gaps;
    const ofStream = (direction: Direction) =>
      database.prepare(
        `select ${headerColumns}, record_sum, record from events
         where stream = ? and revision between ? and ? order by revision ${order[direction]} limit ${maxPageRows}`,
      );
    const ofLog = (direction: Direction) =>
      database.prepare(
        `select ${headerColumns} from events
         where position between ? and ? order by position ${order[direction]} limit ${maxPageRows}`,
      );
    this.#ofStream = { forwards: ofStream('forwards'), backwards: ofStream('backwards') };
    this.#ofLog = { forwards: ofLog('forwards'), backwards: ofLog('backwards') };
    this.#headersOfStream = database.prepare(
      `select ${headerColumns} from events where stream = ? and revision between ? and ? order by revision limit ?`,
    );
    this.#record = database.prepare('select record_sum, record from events where position = ?');
  }

  /** Undefined if the stream has no such revision (any more). */
  at(head: StreamHead, revision: number): EventRow | undefined {
    return this.ofStream(head, { from: revision, to: revision }, 'forwards')[0];
  }

  /** The next events in the range, as many as fit a page; the tombstone follows the last one. None: there are no more. */
  ofStream(head: StreamHead, range: Range, direction: Direction): readonly EventRow[] {
    const from = Math.max(range.from, head.first);
    const expected = new ExpectedRevisions(head, { from, to: range.to }, direction);
    if (expected.done) return [];
    return this.#damage.reading(`stream ${head.name}`, () => {
      const page: EventRow[] = [];
      let sizeBytes = 0;
      for (const row of this.#ofStream[direction].iterate(head.id, from, range.to)) {
        const event = this.#withRecord(this.#header(row), row);
        if (!expected.meet(event.revision)) throw this.#missing(head, expected.next);
        page.push(event);
        sizeBytes += event.record.length;
        if (sizeBytes >= maxPageBytes) return page; // ends the statement too
      }
      if (page.length < maxPageRows && !expected.done) throw this.#missing(head, expected.next);
      return page;
    });
  }

  /** From the start of the range, at most so many; without what they say. */
  headers(head: StreamHead, range: Range, limit: number): readonly EventHeader[] {
    return this.#damage.reading(`stream ${head.name}`, () => {
      const rows = this.#headersOfStream.all(head.id, range.from, range.to, limit).map((row) => this.#header(row));
      const expected = Math.min(limit, range.to - range.from + 1);
      const gap = rows.findIndex(({ revision }, index) => revision !== range.from + index);
      if (gap === -1 && rows.length === expected) return rows;
      throw this.#missing(head, range.from + (gap === -1 ? rows.length : gap));
    });
  }

  /** In the order of the log; `take` is told of each event in turn and ends the page by returning false. */
  scan(wanted: Range, direction: Direction, take: (header: EventHeader) => boolean): void {
    const range = { from: wanted.from, to: Math.min(wanted.to, this.#tail.lastPosition) };
    if (range.from > range.to) return;
    this.#damage.reading('the log', () => {
      let open: Range = range;
      let rows = 0;
      for (const row of this.#ofLog[direction].iterate(range.from, range.to)) {
        const header = this.#header(row);
        open = this.#skip(open, header.position, direction);
        rows += 1;
        if (!take(header)) return;
      }
      if (rows < maxPageRows && open.from <= open.to) this.#gaps.require(open);
    });
  }

  record(header: EventHeader): Uint8Array {
    const row = this.#damage.reading(`position ${header.position}`, () => this.#record.get(header.position));
    return this.#withRecord(header, row ?? {}).record;
  }

  /** What is left of the range after the position; between both nothing may be missing. */
  #skip(open: Range, position: number, direction: Direction): Range {
    if (direction === 'forwards') {
      if (position !== open.from) this.#gaps.require({ from: open.from, to: position - 1 });
      return { from: position + 1, to: open.to };
    }
    if (position !== open.to) this.#gaps.require({ from: position + 1, to: open.to });
    return { from: open.from, to: position - 1 };
  }

  #header(row: Row): EventHeader {
    const fields = {
      position: Number(row.position),
      streamId: Number(row.stream),
      revision: Number(row.revision),
      createdMs: Number(row.created_ms),
      type: String(row.type),
    };
    const sum = headerSum(fields);
    if (row.header_sum !== sum) throw this.#damage.content(`the event at position ${fields.position}`);
    return { ...fields, headerSum: sum };
  }

  #withRecord(header: EventHeader, { record, record_sum: sum }: Row): EventRow {
    if (record instanceof Uint8Array && sum === recordSum(record, header.headerSum)) return { ...header, record };
    throw this.#damage.content(`the event at position ${header.position} (revision ${header.revision} of its stream)`);
  }

  #missing(head: StreamHead, revision: number): Error {
    return this.#damage.structure(`revision ${revision} of stream ${head.name} is missing`);
  }
}

/** Which revisions a reader of a range must meet, in turn. */
class ExpectedRevisions {
  readonly #end: number;
  readonly #step: 1 | -1;
  #tombstone: boolean;
  #next: number;

  constructor({ last, tombstoned }: StreamHead, { from, to }: Range, direction: Direction) {
    const highest = Math.min(to, last);
    this.#tombstone = tombstoned && to >= tombstoneRevision;
    this.#step = direction === 'forwards' ? 1 : -1;
    this.#next = direction === 'forwards' ? from : highest;
    this.#end = direction === 'forwards' ? highest : from;
  }

  get #numbersDone(): boolean {
    return (this.#end - this.#next) * this.#step < 0;
  }

  get done(): boolean {
    return this.#numbersDone && !this.#tombstone;
  }

  get next(): number {
    return this.#numbersDone ? tombstoneRevision : this.#next;
  }

  meet(revision: number): boolean {
    if (this.done || revision !== this.next) return false;
    if (this.#numbersDone) this.#tombstone = false;
    else this.#next += this.#step;
    return true;
  }
}
