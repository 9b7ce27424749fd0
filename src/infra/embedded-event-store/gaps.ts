import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { rowSum } from './checksums.ts';
import type { DamageReporter } from './damage.ts';
import type { Range } from './event-rows.ts';

/** The positions whose events were scavenged. Adjoining ones are one row, so that a log with few survivors has few gaps. */
export class Gaps {
  readonly #damage: DamageReporter;
  readonly #before: StatementSync;
  readonly #insert: StatementSync;
  readonly #remove: StatementSync;

  constructor(database: DatabaseSync, damage: DamageReporter) {
    this.#damage = damage;
    this.#before = database.prepare('select first, last, sum from gaps where first <= ? order by first desc limit 1');
    this.#insert = database.prepare('insert into gaps values (?, ?, ?)');
    this.#remove = database.prepare('delete from gaps where first = ?');
  }

  /** Throws unless every event in the range was removed on purpose. */
  require({ from, to }: Range): void {
    const gap = this.#at(from);
    if (gap && gap.to >= to) return;
    throw this.#damage.structure(
      from === to ? `position ${from} is missing` : `positions ${from} to ${to} are missing`,
    );
  }

  /** Only inside a transaction. */
  add({ from, to }: Range): void {
    const before = this.#at(from - 1);
    const after = this.#at(to + 1);
    const merged = {
      from: before && before.to === from - 1 ? before.from : from,
      to: after?.from === to + 1 ? after.to : to,
    };
    if (merged.from !== from) this.#remove.run(merged.from);
    if (merged.to !== to) this.#remove.run(to + 1);
    this.#insert.run(merged.from, merged.to, rowSum(merged.from, merged.to));
  }

  /** The one that holds the position, or else the last that ended before it. */
  #at(position: number): Range | undefined {
    const row = this.#before.get(position);
    if (!row) return undefined;
    const gap = { from: Number(row.first), to: Number(row.last) };
    if (row.sum !== rowSum(gap.from, gap.to))
      throw this.#damage.content(`the list of what was scavenged near position ${position}`);
    return gap;
  }
}
