import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { type EventRef, gapType, metadataType, type StoredEvent, tombstoneType } from './stored-event.ts';

/** What the target holds at a place: `own` events carry their id with them, the others are written by servers. */
export type Held = Readonly<{
  id: string;
  kind: 'own' | 'metadata' | 'gap' | 'tombstone';
  /** Of metadata. */
  data: Uint8Array | null;
}>;

const kindOf = (type: string): Held['kind'] => {
  if (type === metadataType) return 'metadata';
  if (type === gapType) return 'gap';
  return type === tombstoneType ? 'tombstone' : 'own';
};

/**
 * What an import has to remember of streams and events: SQLite's private temporary database, which lives on disk, so that a
 * log of any size is imported in the same memory, and which is gone with the process however that ends.
 */
export class ImportLedger {
  readonly #database = new DatabaseSync('');
  readonly #addSeen: StatementSync;
  readonly #firstSeen: StatementSync;
  readonly #ownBefore: StatementSync;
  readonly #addHeld: StatementSync;
  readonly #held: StatementSync;
  readonly #match: StatementSync;
  readonly #foreign: StatementSync;
  readonly #setLast: StatementSync;
  readonly #last: StatementSync;

  constructor() {
    this.#database.exec(`
      create table seen (stream text primary key, first integer not null) without rowid;
      create table held (stream text, revision integer, id text, kind text, data blob, matched integer,
        primary key (stream, revision)) without rowid;
      create table heads (stream text primary key, last integer not null) without rowid;
      begin`);
    this.#addSeen = this.#database.prepare('insert or ignore into seen values (?, ?)');
    this.#firstSeen = this.#bigints('select first from seen where stream = ?');
    this.#ownBefore = this.#database.prepare(
      "select 1 from held where stream = ? and revision < ? and kind <> 'gap' limit 1",
    );
    this.#addHeld = this.#database.prepare('insert into held values (?, ?, ?, ?, ?, ?)');
    this.#held = this.#database.prepare('select id, kind, data from held where stream = ? and revision = ?');
    this.#match = this.#database.prepare('update held set matched = 1 where stream = ? and revision = ?');
    this.#foreign = this.#bigints("select stream, revision from held where matched = 0 and kind = 'own' limit 1");
    this.#setLast = this.#database.prepare('insert or replace into heads values (?, ?)');
    this.#last = this.#bigints('select last from heads where stream = ?');
  }

  /**
   * Of a stream in the files: its first revision there, when the target holds nothing before it but markers. Undefined for
   * one whose events before that were imported earlier.
   */
  firstAfterGap(stream: string): bigint | undefined {
    const first = this.#firstSeen.get(stream)?.first as bigint | undefined;
    return first === undefined || this.#ownBefore.get(stream, first) ? undefined : first;
  }

  noteFile(events: readonly StoredEvent[]): void {
    for (const { stream, revision } of events) this.#addSeen.run(stream, revision);
  }

  /** `apart`: it precedes what the files hold, or an import left it, so none of them need know it. */
  noteTarget({ stream, revision, id, type, data }: StoredEvent, apart: boolean): void {
    const kind = kindOf(type);
    this.#addHeld.run(stream, revision, id, kind, kind === 'metadata' ? data : null, apart ? 1 : 0);
    if (kind !== 'tombstone') this.setLast(stream, revision);
  }

  heldAt(stream: string, revision: bigint): Held | undefined {
    return this.#held.get(stream, revision) as Held | undefined;
  }

  matched(stream: string, revision: bigint): void {
    this.#match.run(stream, revision);
  }

  /** An event of the target that no file holds. */
  foreign(): Pick<EventRef, 'stream' | 'revision'> | undefined {
    return this.#foreign.get() as Pick<EventRef, 'stream' | 'revision'> | undefined;
  }

  /** Newest revision of a stream in the target, as far as it was read and written; -1 for none. */
  lastOf(stream: string): bigint {
    return (this.#last.get(stream)?.last as bigint | undefined) ?? -1n;
  }

  setLast(stream: string, revision: bigint): void {
    this.#setLast.run(stream, revision);
  }

  close(): void {
    this.#database.close();
  }

  #bigints(sql: string): StatementSync {
    const statement = this.#database.prepare(sql);
    statement.setReadBigInts(true);
    return statement;
  }
}
