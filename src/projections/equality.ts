import { sql } from 'kysely';
import type { Follower } from './follower.ts';
import type { Generation } from './generation.ts';
import type { ReadModelDb } from './projection.ts';
import { applyTail, lockLive } from './take-over.ts';

/** One table compared, whatever the order of its rows. */
export type Difference = Readonly<{
  projection: string;
  table: string;
  rows: number;
  /** Rows that only one of the two has; a row that differs counts on both sides. */
  onlyLive: number;
  onlyRebuilt: number;
  /** The first of them, the same place in both lists as far as they are the same rows changed. */
  examples: Readonly<{ live: readonly unknown[]; rebuilt: readonly unknown[] }>;
}>;

type Building = Readonly<{ live: readonly Generation[]; built: readonly Generation[]; follower: Follower }>;
type Dbs = Readonly<{ live: ReadModelDb; built: ReadModelDb }>;

const exampleCount = 3;

type Compared = Readonly<{
  rows: number;
  only_live: number;
  only_rebuilt: number;
  live: readonly unknown[] | null;
  rebuilt: readonly unknown[] | null;
}>;

const compareTable = async (tx: ReadModelDb, live: string, built: string, table: string): Promise<Compared> => {
  const [ours, theirs] = [sql.id(live, table), sql.id(built, table)];
  const { rows } = await sql<Compared>`
    with only_live as (select * from ${ours} except all select * from ${theirs}),
      only_rebuilt as (select * from ${theirs} except all select * from ${ours})
    select (select count(*) from ${ours}) as rows,
      (select count(*) from only_live) as only_live,
      (select count(*) from only_rebuilt) as only_rebuilt,
      (select jsonb_agg(row) from (select to_jsonb(l) as row from only_live l order by l limit ${exampleCount}) firsts) as live,
      (select jsonb_agg(row) from (select to_jsonb(r) as row from only_rebuilt r order by r limit ${exampleCount}) firsts)
        as rebuilt
  `.execute(tx);
  const [compared] = rows;
  if (!compared) throw new Error(`${table} was not compared`);
  return compared;
};

const compareAll = async (tx: ReadModelDb, { live, built }: Building): Promise<readonly Difference[]> => {
  const found: Difference[] = [];
  for (const [index, { projection, schema }] of live.entries()) {
    for (const table of Object.keys(projection.tables)) {
      const compared = await compareTable(tx, schema, built[index]?.schema ?? '', table);
      found.push({
        ...{ projection: projection.name, table, rows: compared.rows },
        ...{ onlyLive: compared.only_live, onlyRebuilt: compared.only_rebuilt },
        examples: { live: compared.live ?? [], rebuilt: compared.rebuilt ?? [] },
      });
    }
  }
  return found;
};

const nearestTo = (positions: ReadonlyMap<string, bigint>): bigint => {
  const [first = 0n, ...rest] = positions.values();
  if (rest.every((position) => position === first)) return first;
  throw new Error('the live read models are not at the same position; check again when they have caught up');
};

/**
 * Brings the new tables to exactly where the live ones are, and takes a snapshot that sees both while the live ones stand
 * still; the comparison itself, which may take long, holds nobody up.
 */
const openSnapshot = (dbs: Dbs, { live, follower }: Building) =>
  dbs.live.transaction().execute(async (tx) => {
    const position = nearestTo(await lockLive(tx, live));
    if (!(await applyTail(follower, position, position))) return undefined;
    const snapshot = await dbs.built
      .startTransaction()
      .setIsolationLevel('repeatable read')
      .setAccessMode('read only')
      .execute();
    await sql`select 1`.execute(snapshot);
    return snapshot;
  });

const livePosition = async (db: ReadModelDb, live: readonly Generation[]): Promise<bigint> => {
  const schemas = live.map(({ schema }) => schema);
  const rows = await db.selectFrom('checkpoints').select('position').where('projection', 'in', schemas).execute();
  return rows.map(({ position }) => BigInt(position)).reduce((a, b) => (a < b ? a : b), 2n ** 64n);
};

/** All tables of the projections compared, those without a difference too. */
export const differences = async (dbs: Dbs, building: Building): Promise<readonly Difference[]> => {
  const { live, follower } = building;
  for (;;) {
    const limit = await livePosition(dbs.live, live);
    while (follower.position() < limit) await follower.step({ limit });
    const snapshot = await openSnapshot(dbs, building);
    if (!snapshot) continue;
    try {
      return await compareAll(snapshot, building);
    } finally {
      await snapshot.rollback().execute();
    }
  }
};
