import { sql } from 'kysely';
import { type Applier, execute, type Locked, type Target } from './batch.ts';
import { decisionIn } from './decisions.ts';
import { isEventsFault } from './faults.ts';
import type { Generation } from './generation.ts';
import { type AnyRecord, isReadable, ParkedStreams, typeOf } from './parking.ts';
import { patientTypes } from './patient.ts';
import { applyOneByOne } from './poison.ts';
import type { SourceEvents } from './ports.ts';
import { planForFullTables } from './prepared.ts';
import type { ReadModelDb } from './projection.ts';
import { StatementRun, statementsOf } from './statement-run.ts';
import { compiling, parameterized, textOf } from './statements.ts';

/** Positions by generation's schema; one that never ran is at 0n. */
export type Checkpoints = ReadonlyMap<string, bigint>;

export const readCheckpoints = async (db: ReadModelDb, generations: readonly Generation[]): Promise<Checkpoints> => {
  const schemas = generations.map(({ schema }) => schema);
  const rows = await db.selectFrom('checkpoints').selectAll().where('projection', 'in', schemas).execute();
  const stored = new Map(rows.map((row) => [row.projection, BigInt(row.position)]));
  return new Map(schemas.map((schema) => [schema, stored.get(schema) ?? 0n]));
};

/**
 * Locks the checkpoints of those that have not seen everything up to there. The others are left alone: they belong to a
 * hub that is further on, and must not wait for one that catches up.
 */
const lockCheckpoints = async (tx: ReadModelDb, { generations }: Target, position: bigint): Promise<Locked> => {
  const schemas = generations.map(({ schema }) => schema);
  const rows = await tx
    .selectFrom('checkpoints')
    .selectAll()
    .select(sql<number>`pg_backend_pid()`.as('process_id'))
    .where('projection', 'in', schemas)
    .where('position', '<', position.toString())
    .orderBy('projection')
    .forUpdate()
    .execute();
  // Without its row a projection would apply everything again; the runner makes tables and rows anew.
  if (rows.length < schemas.length) await assertPresent(tx, schemas);
  const locked = new Map(rows.map((row) => [row.projection, row]));
  return {
    generations: generations.flatMap((generation) => {
      const row = locked.get(generation.schema);
      return row ? [{ ...generation, seen: BigInt(row.position) }] : [];
    }),
    processId: rows[0]?.process_id ?? 0,
    withParked: rows.filter(({ parked }) => parked > 0).map(({ projection }) => projection),
  };
};

const assertPresent = async (tx: ReadModelDb, schemas: readonly string[]): Promise<void> => {
  const rows = await tx.selectFrom('checkpoints').select('projection').where('projection', 'in', schemas).execute();
  if (rows.length < schemas.length) throw new Error('the checkpoints of the read models are gone');
};

const writeCheckpoints = (locked: Locked, position: bigint) =>
  compiling
    .updateTable('checkpoints')
    .set({ position: position.toString(), updated_at: sql`now()` })
    .where(
      'projection',
      'in',
      locked.generations.map(({ schema }) => schema),
    );

const inOrder = ({ events, unreadable = [] }: SourceEvents): readonly AnyRecord[] =>
  unreadable.length === 0
    ? events
    : [...events, ...unreadable].sort((a, b) => (a.position < b.position ? -1 : a.position > b.position ? 1 : 0));

type Batch = Readonly<{ records: readonly AnyRecord[]; position: bigint }>;

const inTransaction = (target: Target, { records, position }: Batch, apply: Applier): Promise<void> =>
  target.db.transaction().execute(async (tx) => {
    const locked = await lockCheckpoints(tx, target, position);
    if (locked.generations.length === 0) return;
    const { texts, done } = await apply(tx, target, locked, records);
    await execute(tx, [...texts, ...textOf([writeCheckpoints(locked, position)])]);
    done?.();
  });

/** The usual case: nothing is wrong with any event. Those of streams that are parked join the queue. */
const applyAtOnce: Applier = async (tx, target, locked, records) => {
  const parked = await ParkedStreams.load(tx, locked.withParked);
  const patient = patientTypes(locked.generations.map(({ projection }) => projection));
  const run = new StatementRun();
  for (const record of records) {
    if (!patient.has(typeOf(record))) run.cut();
    for (const { projection, schema, seen } of locked.generations) {
      if (record.position <= seen || !projection.on[typeOf(record)]) continue;
      if (parked.get(schema, record.stream)) parked.wait(schema, record);
      else if (isReadable(record)) run.add(schema, record.event.type, statementsOf(projection, record, parameterized));
    }
  }
  const queries = run.compile();
  const { preparing, texts, done } = target.prepared.render(locked.processId, queries);
  await execute(tx, preparing);
  const planned = queries.length > 0 ? planForFullTables : [];
  return { texts: [...planned, ...texts, ...textOf(parked.statements())], done };
};

/** An event that cannot be read, was once decided about, or is a decision: then each is looked at by itself. */
const needsCare = ({ generations, decisions }: Target, records: readonly AnyRecord[]): boolean =>
  records.some((record) =>
    generations.some(
      ({ projection }) =>
        (isReadable(record) && decisionIn(record, projection.name)) ||
        (projection.on[typeOf(record)] &&
          (!isReadable(record) || decisions.isOpenAt(projection.name, record, record.position))),
    ),
  );

/**
 * Applies a batch to all generations: rows and checkpoints share one transaction, so a row may count. The locked checkpoint
 * makes a second runner (another hub) harmless: whoever comes later finds the events seen and skips them. An event that
 * cannot be applied parks its stream, for that projection; everything else goes on.
 */
export const applyBatch = async (target: Target, batch: SourceEvents): Promise<void> => {
  const records = inOrder(batch);
  const { position } = batch;
  if (!needsCare(target, records)) {
    try {
      return await inTransaction(target, { records, position }, applyAtOnce);
    } catch (error) {
      if (!isEventsFault(error)) throw error;
    }
  }
  await inTransaction(target, { records, position }, applyOneByOne);
};
