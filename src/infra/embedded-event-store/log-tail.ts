import type { DatabaseSync, StatementSync } from 'node:sqlite';
import type { DamageReporter } from './damage.ts';
import { type LogEnd, logSum } from './schema.ts';

/**
 * The last position ever given away and how many streams there are. Kept apart from the events, because the last of them
 * may be scavenged, and so that a table which lost its end is noticed.
 */
export class LogTail {
  readonly #select: StatementSync;
  readonly #update: StatementSync;
  readonly #damage: DamageReporter;
  #stored: LogEnd;
  #current: LogEnd;

  constructor(database: DatabaseSync, damage: DamageReporter) {
    this.#damage = damage;
    this.#select = database.prepare('select last_position, streams, scavenged_at_ms, sum from log where id = 1');
    this.#update = database.prepare('update log set last_position = ?, streams = ?, scavenged_at_ms = ?, sum = ?');
    this.#stored = this.#read();
    this.#current = this.#stored;
  }

  /** Of what is written so far; inside a transaction that may not be committed yet. */
  get lastPosition(): number {
    return this.#current.lastPosition;
  }

  get streams(): number {
    return this.#current.streams;
  }

  get scavengedAtMs(): number {
    return this.#current.scavengedAtMs;
  }

  nextPosition(): number {
    this.#current = { ...this.#current, lastPosition: this.#current.lastPosition + 1 };
    return this.#current.lastPosition;
  }

  addStream(): void {
    this.#current = { ...this.#current, streams: this.#current.streams + 1 };
  }

  scavengedAt(ms: number): void {
    this.#current = { ...this.#current, scavengedAtMs: ms };
  }

  /** At the end of each transaction. */
  save(): void {
    if (this.#current === this.#stored) return;
    const { lastPosition, streams, scavengedAtMs } = this.#current;
    this.#update.run(lastPosition, streams, scavengedAtMs, logSum(this.#current));
  }

  committed(): void {
    this.#stored = this.#current;
  }

  rolledBack(): void {
    this.#current = this.#stored;
  }

  #read(): LogEnd {
    const row = this.#damage.reading('the end of the log', () => this.#select.get());
    const end = {
      lastPosition: Number(row?.last_position),
      streams: Number(row?.streams),
      scavengedAtMs: Number(row?.scavenged_at_ms),
    };
    if (!row || row.sum !== logSum(end)) throw this.#damage.structure('what it says about the end of the log is wrong');
    return end;
  }
}
