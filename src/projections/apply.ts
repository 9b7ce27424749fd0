import { sql } from 'kysely';
import type { RecordedEvent } from '#domain/recorded-event.ts';
import type { AnyProjection, ReadModelDb } from './projection.ts';

/** Positions by projection's name; a projection that never ran is at 0n. */
export type Checkpoints = ReadonlyMap<string, bigint>;

/** Where each projection is; a projection that is new gets its row here. */
export const readCheckpoints = async (db: ReadModelDb, projections: readonly AnyProjection[]): Promise<Checkpoints> => {
  await db
    .insertInto('checkpoints')
    .values(projections.map(({ name }) => ({ projection: name, position: '0' })))
    .onConflict((conflict) => conflict.doNothing())
    .execute();
  const rows = await db.selectFrom('checkpoints').selectAll().execute();
  const stored = new Map(rows.map((row) => [row.projection, BigInt(row.position)]));
  return new Map(projections.map(({ name }) => [name, stored.get(name) ?? 0n]));
};

/**
 * Applies a batch to all projections: rows and checkpoints share one transaction, so a row may count. The locked
 * checkpoint makes a second runner (another hub) harmless: whoever comes later finds the events seen and skips them.
 */
export const applyBatch = async (
  db: ReadModelDb,
  projections: readonly AnyProjection[],
  batch: Readonly<{ events: readonly RecordedEvent[]; position: bigint }>,
): Promise<void> => {
  const { events, position } = batch;
  const names = projections.map(({ name }) => name);
  await db.transaction().execute(async (tx) => {
    const rows = await tx
      .selectFrom('checkpoints')
      .selectAll()
      .where('projection', 'in', names)
      .orderBy('projection')
      .forUpdate()
      .execute();
    // Without its row a projection would apply everything again; the runner makes the rows anew.
    if (rows.length < names.length) throw new Error('the checkpoints of the read models are gone');
    const seen = new Map(rows.map((row) => [row.projection, BigInt(row.position)]));
    for (const recorded of events) {
      for (const { name, on } of projections) {
        if (recorded.position <= (seen.get(name) ?? 0n)) continue;
        const handler = on[recorded.event.type];
        if (!handler) continue;
        const { stream, revision, position: at, recordedAt } = recorded;
        const projected = { data: recorded.event.data, stream, revision, position: at, recordedAt };
        for (const statement of handler(projected, tx)) await statement.execute();
      }
    }
    await tx
      .updateTable('checkpoints')
      .set({ position: position.toString(), updated_at: sql`now()` })
      .where('projection', 'in', names)
      .where('position', '<', position.toString())
      .execute();
  });
};
