import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { EventRows } from './event-rows.ts';
import type { Gaps } from './gaps.ts';
import type { GroupCommit } from './group-commit.ts';
import type { LogTail } from './log-tail.ts';
import type { StreamHeads } from './stream-heads.ts';
import { firstVisibleRevision, isMetastream, visibleSinceMs } from './stream-metadata.ts';
import type { StreamHead } from './stream-row.ts';

/** Of one run, so far. `sizeBytes` is that of the file, with what its log has not yet moved into it. */
export type ScavengeProgress = Readonly<{
  done: boolean;
  streamsLooked: number;
  streams: number;
  eventsRemoved: number;
  sizeBytes: number;
}>;

type Parts = Readonly<{
  database: DatabaseSync;
  heads: StreamHeads;
  rows: EventRows;
  gaps: Gaps;
  tail: LogTail;
  commits: GroupCommit;
}>;

export class ScavengeRunning extends Error {
  override readonly name = 'ScavengeRunning';
  constructor() {
    super('A scavenge of this event store is running already.');
  }
}

// Each batch is one transaction that holds appends up: some milliseconds.
const eventsPerBatch = 250;
const pagesPerBatch = 256;
const streamsPerBatch = 200;
const batchBytes = 1024 * 1024;

/** Adjoining positions as ranges; sorts them. */
const rangesOf = (positions: readonly number[]): readonly Readonly<{ from: number; to: number }>[] => {
  const ranges: { from: number; to: number }[] = [];
  for (const position of positions.toSorted((a, b) => a - b)) {
    const last = ranges.at(-1);
    if (last?.to === position - 1) last.to = position;
    else ranges.push({ from: position, to: position });
  }
  return ranges;
};

/**
 * Removes for good what no reader of a stream can see any more: truncated events, those of deleted streams, and metadata
 * that was replaced. A tombstone stays, and so do a stream's last revision and every position: none is given away twice.
 * Appends and reads go on between the batches; a run that is cut off has done what it has done.
 */
export class Scavenger {
  readonly #parts: Parts;
  readonly #selectStreams: StatementSync;
  readonly #delete: StatementSync;
  readonly #freePages: StatementSync;
  readonly #allPages: StatementSync;
  readonly #pageSize: number;
  #running = false;

  constructor(parts: Parts) {
    const { database } = parts;
    this.#parts = parts;
    this.#selectStreams = database.prepare(`select id from streams where id > ? order by id limit ${streamsPerBatch}`);
    this.#delete = database.prepare('delete from events where position = ?');
    this.#freePages = database.prepare('select freelist_count as count from pragma_freelist_count');
    this.#allPages = database.prepare('select page_count as count from pragma_page_count');
    this.#pageSize = Number(database.prepare('pragma page_size').get()?.page_size);
  }

  /** The next progress is worked on when it is asked for. Throws `ScavengeRunning`. */
  async *run(): AsyncGenerator<ScavengeProgress, void, undefined> {
    if (this.#running) throw new ScavengeRunning();
    this.#running = true;
    const { commits, tail } = this.#parts;
    let [streamsLooked, eventsRemoved] = [0, 0];
    const progress = (done = false): ScavengeProgress => {
      const sizeBytes = Number(this.#allPages.get()?.count) * this.#pageSize;
      return { done, streamsLooked, streams: tail.streams, eventsRemoved, sizeBytes };
    };
    try {
      for await (const removed of this.#removeEvents()) {
        eventsRemoved += removed;
        if (removed === 0) streamsLooked += 1;
        if (removed > 0 || streamsLooked % streamsPerBatch === 0) yield progress();
      }
      for await (const _ of this.#shrink()) yield progress();
      await commits.run(0, () => tail.scavengedAt(Date.now()));
      this.#giveBack();
      yield progress(true);
    } finally {
      this.#running = false;
    }
  }

  /** How many each batch removed; 0 once for each stream. */
  async *#removeEvents(): AsyncGenerator<number, void, undefined> {
    const { commits } = this.#parts;
    for (let after = 0; ; ) {
      const ids = this.#selectStreams.all(after).map(({ id }) => Number(id));
      if (ids.length === 0) return;
      for (const id of ids) {
        while (this.#isWorthIt(id)) yield await commits.run(batchBytes, () => this.#removeBatch(id));
        yield 0;
      }
      after = ids.at(-1) ?? after;
      await nextTurn();
    }
  }

  /** Without a transaction: most streams have nothing to remove. */
  #isWorthIt(streamId: number): boolean {
    return this.#removable(streamId).positions.length > 0;
  }

  #removable(streamId: number): Readonly<{ head: StreamHead; positions: readonly number[]; next: number }> {
    const { heads, rows } = this.#parts;
    const head = heads.get(heads.nameOf(streamId));
    const { keepFrom, sinceMs } = this.#limitsOf(head);
    const positions: number[] = [];
    let next = head.first;
    for (const { position, revision, createdMs } of rows.headers(
      head,
      { from: head.first, to: head.last },
      eventsPerBatch,
    )) {
      if (revision >= keepFrom && createdMs >= sinceMs) break;
      positions.push(position);
      next = revision + 1;
    }
    return { head, positions, next };
  }

  /** Events before `keepFrom` go, and those after it up to the first that is younger than `sinceMs`. */
  #limitsOf({ name, last }: StreamHead): Readonly<{ keepFrom: number; sinceMs: number }> {
    const { heads } = this.#parts;
    if (heads.isTombstoned(name)) return { keepFrom: last + 1, sinceMs: 0 };
    if (isMetastream(name)) return { keepFrom: last, sinceMs: 0 };
    const metadata = heads.metadata(name);
    return { keepFrom: firstVisibleRevision(metadata, last), sinceMs: visibleSinceMs(metadata, Date.now()) };
  }

  #removeBatch(streamId: number): number {
    const { heads, gaps } = this.#parts;
    const { head, positions, next } = this.#removable(streamId);
    for (const position of positions) this.#delete.run(position);
    for (const range of rangesOf(positions)) gaps.add(range);
    head.first = next;
    heads.save(head);
    return positions.length;
  }

  /** Moves pages from the file's end into its free ones. */
  async *#shrink(): AsyncGenerator<void, void, undefined> {
    const { commits, database } = this.#parts;
    // Appends may free or take pages meanwhile: not more rounds than there was work at the beginning.
    for (let rounds = Math.ceil(this.#free() / pagesPerBatch); rounds > 0 && this.#free() > 0; rounds -= 1) {
      await commits.run(batchBytes, () => database.exec(`pragma incremental_vacuum(${pagesPerBatch})`));
      yield;
      await nextTurn();
    }
  }

  #free(): number {
    return Number(this.#freePages.get()?.count);
  }

  /** The file is cut off when everything in the log has been moved into it. */
  #giveBack(): void {
    this.#parts.database.exec('pragma wal_checkpoint(truncate)');
  }
}
