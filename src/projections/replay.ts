import type { RecordedEvent } from '#domain/recorded-event.ts';
import { counter } from './backups.ts';
import type { AnyProjection } from './projection.ts';
import { compiling, textOf } from './statements.ts';

/** The statements that make the empty tables of these projections. */
export const tablesOf = (projections: readonly AnyProjection[]): readonly string[] =>
  projections.flatMap(({ tables }) => Object.values(tables).flat());

/** Makes the next backup's disks begin at this number, as they do when all backups before it are in the tables. */
export const diskNumbersFrom = (first: number): readonly string[] =>
  textOf([
    compiling
      .insertInto('backup_counters')
      .values({ name: counter, last: first - 1 })
      .onConflict((conflict) => conflict.column('name').doUpdateSet({ last: first - 1 })),
  ]);

/** Events of several sources as one, in log order; each source is in log order itself. One event a source is held. */
export async function* merged(
  sources: readonly AsyncIterable<RecordedEvent>[],
): AsyncGenerator<RecordedEvent, void, undefined> {
  const open = await Promise.all(
    sources.map(async (source) => {
      const iterator = source[Symbol.asyncIterator]();
      return { iterator, next: await iterator.next() };
    }),
  );
  try {
    for (;;) {
      let first: (typeof open)[number] | undefined;
      for (const each of open) {
        if (each.next.done) continue;
        if (!first || each.next.value.position < first.next.value.position) first = each;
      }
      if (!first) return;
      yield first.next.value;
      first.next = await first.iterator.next();
    }
  } finally {
    await Promise.all(open.map(({ iterator }) => iterator.return?.()));
  }
}
