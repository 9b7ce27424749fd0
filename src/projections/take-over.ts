import { sql } from 'kysely';
import type { Follower } from './follower.ts';
import { beside, type Generation } from './generation.ts';
import type { ReadModelDb } from './projection.ts';

/** How long the live tables may stand still for the last events; longer means to try again later. */
const longestStandstillMs = 2_000;

/** Nobody applies to these generations until the transaction ends. Returns the position of each. */
export const lockLive = async (
  tx: ReadModelDb,
  generations: readonly Generation[],
): Promise<ReadonlyMap<string, bigint>> => {
  await sql`set local lock_timeout = '5s'`.execute(tx);
  const schemas = generations.map(({ schema }) => schema);
  const rows = await tx
    .selectFrom('checkpoints')
    .select(['projection', 'position'])
    .where('projection', 'in', schemas)
    .orderBy('projection')
    .forUpdate()
    .execute();
  if (rows.length < schemas.length) throw new Error('the checkpoints of the read models are gone');
  return new Map(rows.map(({ projection, position }) => [projection, BigInt(position)]));
};

const greatest = (positions: Iterable<bigint>): bigint => [...positions].reduce((a, b) => (a > b ? a : b), 0n);

/** Applies what the live tables have and the new ones lack; false when that takes too long. */
export const applyTail = async (follower: Follower, upTo: bigint, limit?: bigint): Promise<boolean> => {
  const until = performance.now() + longestStandstillMs;
  while (follower.position() < upTo) {
    const patienceMs = until - performance.now();
    if (patienceMs <= 0) return false;
    if (!(await follower.step({ patienceMs, ...(limit === undefined ? {} : { limit }) }))) return false;
  }
  return true;
};

const rename = (tx: ReadModelDb, from: string, to: string) =>
  sql`alter schema ${sql.id(from)} rename to ${sql.id(to)}`.execute(tx);

/**
 * The new schema takes the live one's name. Names are looked up anew by every query, and the old tables stay for those
 * that are still reading them: nobody waits, and nobody finds a table missing.
 */
const swap = async (tx: ReadModelDb, live: Generation): Promise<void> => {
  const [next, old] = [beside(live, 'next').schema, beside(live, 'old').schema];
  await rename(tx, live.schema, old);
  await rename(tx, next, live.schema);
  await tx
    .updateTable('checkpoints')
    .from('checkpoints as built')
    .set((eb) => ({ position: eb.ref('built.position'), parked: eb.ref('built.parked'), updated_at: sql`now()` }))
    .where('checkpoints.projection', '=', live.schema)
    .where('built.projection', '=', next)
    .execute();
  await tx.deleteFrom('checkpoints').where('projection', '=', next).execute();
  await tx.deleteFrom('parked_streams').where('projection', '=', live.schema).execute();
  await tx.updateTable('parked_streams').set({ projection: live.schema }).where('projection', '=', next).execute();
};

/**
 * In one transaction on the connection that holds the build lock: the live tables stand still, the new ones get their last
 * events and take over. Returns false when there was too much to catch up with; then nothing has changed.
 */
export const takeOver = (connection: ReadModelDb, live: readonly Generation[], follower: Follower): Promise<boolean> =>
  connection.transaction().execute(async (tx) => {
    const positions = await lockLive(tx, live);
    if (!(await applyTail(follower, greatest(positions.values())))) return false;
    for (const generation of live) await swap(tx, generation);
    return true;
  });
