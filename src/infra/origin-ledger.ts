import { DatabaseSync, type SQLOutputValue, type StatementSync } from 'node:sqlite';
import type { OriginLedger, Suspect } from '#commands/unexplained-events.ts';
import type { Evidence } from '#domain/audit/evidence.ts';

type Row = Record<string, SQLOutputValue>;

const textOrNull = (value: SQLOutputValue | undefined): string | null => (typeof value === 'string' ? value : null);

const suspectOf = (row: Row): Suspect => ({
  event: {
    ...{ id: String(row.id), stream: String(row.stream), type: String(row.type), recordedAt: String(row.recorded_at) },
    ...{ revision: BigInt(String(row.revision)), position: BigInt(String(row.position)) },
    ...{ by: textOrNull(row.actor), causationId: textOrNull(row.causation_id) },
  },
  evidence: String(row.evidence) as Evidence,
});

// Revisions are texts: that of a deletion is beyond SQLite's integers.
/** SQLite's private temporary database, which lives on disk and is gone with the process however that ends. */
export class SqliteOriginLedger implements OriginLedger {
  readonly #database = new DatabaseSync('');
  readonly #note: StatementSync;
  readonly #has: StatementSync;
  readonly #suspect: StatementSync;
  readonly #clear: StatementSync;
  readonly #clearStream: StatementSync;
  readonly #clearRequest: StatementSync;

  constructor() {
    this.#database.exec(`
      create table known (id text primary key) without rowid;
      create table suspects (position integer primary key, stream text, revision text, id text, type text,
        recorded_at text, actor text, causation_id text, evidence text);
      create index by_id on suspects (id);
      create index by_stream on suspects (stream) where evidence = 'trail';
      create index by_request on suspects (causation_id);
      begin`);
    const prepare = (sql: string): StatementSync => this.#database.prepare(sql);
    this.#note = prepare('insert or ignore into known values (?)');
    this.#has = prepare('select 1 from known where id = ?');
    this.#suspect = prepare('insert or replace into suspects values (?, ?, ?, ?, ?, ?, ?, ?, ?)');
    this.#clear = prepare('delete from suspects where id = ? and stream = ? and revision = ?');
    this.#clearStream = prepare("delete from suspects where stream = ? and evidence = 'trail'");
    this.#clearRequest = prepare(
      "delete from suspects where causation_id = ? and actor = ? and evidence in ('entry', 'entry-or-cause')",
    );
  }

  note(eventId: string): void {
    this.#note.run(eventId);
  }

  has(eventId: string): boolean {
    return this.#has.get(eventId) !== undefined;
  }

  suspect({ event, evidence }: Suspect): void {
    const { stream, revision, id, position, type, recordedAt, by, causationId } = event;
    this.#suspect.run(position, stream, `${revision}`, id, type, recordedAt, by, causationId, evidence);
  }

  clear({ stream, revision, id }: Parameters<OriginLedger['clear']>[0]): void {
    this.#clear.run(id, stream, `${revision}`);
  }

  clearStream(stream: string): void {
    this.#clearStream.run(stream);
  }

  clearRequest(requestId: string, actor: string): void {
    this.#clearRequest.run(requestId, actor);
  }

  *suspects(): Iterable<Suspect> {
    const statement = this.#database.prepare('select * from suspects order by position');
    statement.setReadBigInts(true);
    for (const row of statement.iterate()) yield suspectOf(row as Row);
  }

  close(): void {
    this.#database.close();
  }
}
