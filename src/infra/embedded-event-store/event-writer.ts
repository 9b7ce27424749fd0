import { randomUUID } from 'node:crypto';
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { headerSum, recordSum } from './checksums.ts';
import type { EventRows } from './event-rows.ts';
import { checkExpectedRevision, type ExpectedRevision, type StreamFacts, type Verdict } from './expected-revision.ts';
import type { LogTail } from './log-tail.ts';
import { RecentlyUsed } from './recently-used.ts';
import {
  encodeRecordedEvent,
  encodeStreamName,
  eventIdOf,
  type ProposedEvent,
  tombstoneRevision,
} from './recorded-event.ts';
import type { StreamHeads } from './stream-heads.ts';
import { isMetastream, metastreamOf, originalOf, revivedMetadata, softDeletedMetadata } from './stream-metadata.ts';
import type { StreamHead } from './stream-row.ts';

export type AppendRequest = Readonly<{
  streamName: string;
  expected: ExpectedRevision;
  events: readonly ProposedEvent[];
}>;

/** Revision -1: the stream has no event. No position: nothing was written, and where it once was is unknown. */
export type WriteOutcome =
  | Readonly<{ kind: 'written'; revision: number; position?: number }>
  | Readonly<{ kind: 'wrong-revision'; actualRevision: number }>
  | Readonly<{ kind: 'deleted' }>;

type Parts = Readonly<{ database: DatabaseSync; heads: StreamHeads; rows: EventRows; tail: LogTail }>;

const deleted: WriteOutcome = { kind: 'deleted' };
const empty = new Uint8Array();
const maxRecentIds = 40_000;

const systemEvent = (type: string, json: string): ProposedEvent => ({
  id: randomUUID(),
  type,
  contentType: json === '' ? 'application/octet-stream' : 'application/json',
  data: Buffer.from(json),
  customMetadata: empty,
});

/** Checks and writes. Every method runs inside a transaction of the group commit, one after the other. */
export class EventWriter {
  readonly #heads: StreamHeads;
  readonly #rows: EventRows;
  readonly #tail: LogTail;
  readonly #insert: StatementSync;
  readonly #recent = new RecentlyUsed<Readonly<{ streamId: number; revision: number }>>(maxRecentIds);
  #written: { streams: Set<string>; eventIds: string[] } = { streams: new Set(), eventIds: [] };

  constructor({ database, heads, rows, tail }: Parts) {
    this.#heads = heads;
    this.#rows = rows;
    this.#tail = tail;
    this.#insert = database.prepare('insert into events values (?, ?, ?, ?, ?, ?, ?, ?)');
  }

  append({ streamName, expected, events }: AppendRequest): WriteOutcome {
    const eventIds = events.map((event) => event.id);
    const verdict = this.#check(streamName, expected, eventIds);
    if (verdict.kind !== 'write') return this.#refusalOrRepeat(streamName, verdict);
    if (events.length === 0) return { kind: 'written', revision: this.#heads.get(streamName).last };
    const wasSoftDeleted = this.#heads.isSoftDeleted(streamName);
    const original = isMetastream(streamName) ? originalOf(streamName) : undefined;
    const originalWasSoftDeleted = original !== undefined && this.#heads.isSoftDeleted(original);
    const firstRevision = this.#heads.get(streamName).last + 1;
    const written = this.#write(streamName, events);
    if (wasSoftDeleted) this.#revive(streamName, firstRevision);
    if (originalWasSoftDeleted) this.#revive(original, this.#heads.get(original).last + 1);
    return written;
  }

  /** Soft delete: hides every event so far. It replaces all other metadata of the stream. */
  delete(streamName: string, expected: ExpectedRevision): WriteOutcome {
    if (this.#heads.isTombstoned(streamName)) return deleted;
    const exists = this.#heads.get(streamName).last >= 0 || this.#heads.hasMetadata(streamName);
    if (!exists) return { kind: 'wrong-revision', actualRevision: -1 };
    const verdict = this.#check(streamName, expected, [randomUUID()]);
    if (verdict.kind !== 'write') return this.#refusalOrRepeat(streamName, verdict);
    return this.#write(metastreamOf(streamName), [systemEvent('$metadata', softDeletedMetadata)]);
  }

  /** Hard delete: for ever. */
  tombstone(streamName: string, expected: ExpectedRevision): WriteOutcome {
    const verdict = this.#check(streamName, expected, [randomUUID()]);
    if (verdict.kind !== 'write') return this.#refusalOrRepeat(streamName, verdict);
    const head = this.#heads.create(streamName);
    const tombstone = systemEvent('$streamDeleted', '');
    const position = this.#insertEvent(head, encodeStreamName(streamName), tombstoneRevision, tombstone);
    head.tombstoned = true;
    this.#heads.save(head);
    return { kind: 'written', revision: tombstoneRevision, position };
  }

  writeMetadata(streamName: string, json: string): void {
    this.#write(metastreamOf(streamName), [systemEvent('$metadata', json)]);
  }

  /** The names of the streams changed by the transaction that just committed. */
  committed(): ReadonlySet<string> {
    const { streams } = this.#written;
    this.#written = { streams: new Set(), eventIds: [] };
    return streams;
  }

  rolledBack(): void {
    for (const eventId of this.#written.eventIds) this.#recent.delete(eventId);
    this.#written = { streams: new Set(), eventIds: [] };
  }

  #check(streamName: string, expected: ExpectedRevision, eventIds: readonly string[]): Verdict {
    const head = this.#heads.get(streamName);
    const facts: StreamFacts = {
      lastRevision: head.last,
      tombstoned: this.#heads.isTombstoned(streamName),
      softDeleted: this.#heads.isSoftDeleted(streamName),
      hasMetadata: this.#heads.hasMetadata(streamName),
      recentRevisionOf: (eventId) => {
        const place = this.#recent.get(eventId);
        return place?.streamId === head.id ? place.revision : undefined;
      },
      storedIdAt: (revision) => {
        const stored = revision > head.last ? undefined : this.#rows.at(head, revision);
        return stored && eventIdOf(stored.record);
      },
    };
    return checkExpectedRevision(expected, eventIds, facts);
  }

  #refusalOrRepeat(streamName: string, verdict: Exclude<Verdict, { kind: 'write' }>): WriteOutcome {
    const head = this.#heads.get(streamName);
    switch (verdict.kind) {
      case 'deleted':
        return deleted;
      case 'wrong-revision':
        return { kind: 'wrong-revision', actualRevision: head.last };
      case 'repeated': {
        const position = this.#rows.at(head, verdict.lastRevision)?.position;
        const repeated = { kind: 'written', revision: verdict.lastRevision } as const;
        return position === undefined ? repeated : { ...repeated, position };
      }
    }
  }

  #write(streamName: string, events: readonly ProposedEvent[]): WriteOutcome {
    const head = this.#heads.create(streamName);
    const encodedName = encodeStreamName(streamName);
    for (const event of events) {
      this.#insertEvent(head, encodedName, head.last + 1, event);
      head.last += 1;
    }
    this.#heads.save(head);
    return { kind: 'written', revision: head.last, position: this.#tail.lastPosition };
  }

  #insertEvent(head: StreamHead, encodedName: Buffer, revision: number, event: ProposedEvent): number {
    const position = this.#tail.nextPosition();
    const createdMs = Date.now();
    const record = encodeRecordedEvent(event, { streamName: encodedName, revision, position, createdMs });
    const sum = headerSum({ position, streamId: head.id, revision, createdMs, type: event.type });
    this.#insert.run(position, head.id, revision, createdMs, event.type, sum, recordSum(record, sum), record);
    this.#recent.set(event.id, { streamId: head.id, revision });
    this.#written.streams.add(head.name);
    this.#written.eventIds.push(event.id);
    return position;
  }

  /** An append brought a soft-deleted stream back: what came before stays hidden. */
  #revive(streamName: string, firstRevision: number): void {
    const json = revivedMetadata(this.#heads.rawMetadata(streamName) ?? '', firstRevision);
    if (json !== undefined) this.writeMetadata(streamName, json);
  }
}
