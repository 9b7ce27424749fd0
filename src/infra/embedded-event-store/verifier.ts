import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type DamageReporter, StoreDamaged } from './damage.ts';
import type { EventHeader, EventRows } from './event-rows.ts';
import type { LogTail } from './log-tail.ts';
import type { StreamHeads } from './stream-heads.ts';

export type VerifyProgress = Readonly<{
  done: boolean;
  eventsRead: number;
  position: number;
  lastPosition: number;
  /** What is damaged, in sentences; at most the first hundred. */
  damage: readonly string[];
}>;

type Parts = Readonly<{
  database: DatabaseSync;
  heads: StreamHeads;
  rows: EventRows;
  tail: LogTail;
  damage: DamageReporter;
}>;

const positionsPerBatch = 400;
const streamsPerBatch = 200;
const maxFindings = 100;

/** Reads everything: each event, its place in the index of its stream, and that no stream lacks one. Appends go on meanwhile. */
export class Verifier {
  readonly #parts: Parts;
  readonly #selectIndexed: StatementSync;
  readonly #selectStreams: StatementSync;
  readonly #count: StatementSync;

  constructor(parts: Parts) {
    this.#parts = parts;
    const { database } = parts;
    this.#selectIndexed = database.prepare('select position from events where stream = ? and revision = ?');
    this.#selectStreams = database.prepare(`select id from streams where id > ? order by id limit ${streamsPerBatch}`);
    this.#count = database.prepare(
      'select count(*) as count from events where stream = ? and revision between ? and ?',
    );
  }

  async *run(): AsyncGenerator<VerifyProgress, void, undefined> {
    const { tail } = this.#parts;
    const lastPosition = tail.lastPosition;
    const damage: string[] = [];
    let eventsRead = 0;
    for (let from = 1; from <= lastPosition && damage.length < maxFindings; from += positionsPerBatch) {
      const position = Math.min(from + positionsPerBatch - 1, lastPosition);
      eventsRead += this.#events(from, position, damage);
      yield { done: false, eventsRead, position, lastPosition, damage };
      await nextTurn();
    }
    for await (const _ of this.#streams(damage)) {
      yield { done: false, eventsRead, position: lastPosition, lastPosition, damage };
    }
    yield { done: true, eventsRead, position: lastPosition, lastPosition, damage };
  }

  /** A batch that fails is read again one by one: one bad page must not hide where the good ones are. */
  #events(from: number, to: number, damage: string[]): number {
    try {
      return this.#read(from, to);
    } catch (error) {
      if (!(error instanceof StoreDamaged)) throw error;
    }
    let read = 0;
    for (let position = from; position <= to && damage.length < maxFindings; position += 1) {
      read += this.#find(damage, () => this.#read(position, position)) ?? 0;
    }
    return read;
  }

  #read(from: number, to: number): number {
    let read = 0;
    this.#parts.rows.scan({ from, to }, 'forwards', (header) => {
      this.#check(header);
      read += 1;
      return true;
    });
    return read;
  }

  #check(header: EventHeader): void {
    const { rows, heads, damage } = this.#parts;
    rows.record(header);
    const name = heads.nameOf(header.streamId);
    heads.get(name);
    const indexed = damage.reading(`the index of stream ${name}`, () =>
      this.#selectIndexed.get(header.streamId, header.revision),
    );
    if (indexed?.position === header.position) return;
    throw damage.structure(`revision ${header.revision} of stream ${name} is missing from its index`);
  }

  async *#streams(damage: string[]): AsyncGenerator<void, void, undefined> {
    for (let after = 0; damage.length < maxFindings; ) {
      const ids = this.#find(damage, () => this.#idsAfter(after)) ?? [];
      const last = ids.at(-1);
      if (last === undefined) return;
      for (const id of ids) this.#find(damage, () => this.#checkStream(id));
      after = last;
      yield;
      await nextTurn();
    }
  }

  #idsAfter(id: number): readonly number[] {
    const { damage } = this.#parts;
    return damage.reading('the list of streams', () => this.#selectStreams.all(id).map((row) => Number(row.id)));
  }

  #checkStream(id: number): void {
    const { heads, damage } = this.#parts;
    const { name, first, last } = heads.get(heads.nameOf(id));
    const row = damage.reading(`the index of stream ${name}`, () => this.#count.get(id, first, last));
    const missing = last - first + 1 - Number(row?.count);
    if (missing !== 0) throw damage.structure(`stream ${name} lacks ${missing} of its events`);
  }

  #find<T>(damage: string[], look: () => T): T | undefined {
    try {
      return look();
    } catch (error) {
      if (!(error instanceof StoreDamaged)) throw error;
      if (!damage.includes(error.what)) damage.push(error.what);
      return undefined;
    }
  }
}
