import { type Kysely, sql } from 'kysely';
import { controlSchema, type Generation, schemaPrefix, searchPath } from './generation.ts';
import type { ReadModelDb } from './projection.ts';
import type { ReadModel } from './read-model.ts';

const controlTables = [
  `create table if not exists checkpoints (
    projection text primary key, position numeric(20) not null, parked integer not null default 0,
    updated_at timestamptz not null default now())`,
  `create table if not exists parked_streams (
    projection text not null, stream text not null, head_revision numeric(20) not null,
    head_position numeric(20) not null, event_id text not null, event_type text not null, error text not null,
    recorded_at timestamptz not null, parked_at timestamptz not null default now(), attempts integer not null,
    waiting integer not null, last_revision numeric(20) not null, primary key (projection, stream))`,
  `create table if not exists rebuilds (
    one boolean primary key default true check (one), id text not null, state text not null, projections jsonb not null,
    requested_by text not null, started_at timestamptz not null default now(), ended_at timestamptz,
    events_done bigint not null default 0, position numeric(20) not null default 0, head numeric(20) not null default 0,
    error text, cancel_requested boolean not null default false)`,
  `create table if not exists followed_log (
    one boolean primary key default true check (one), id text not null, since timestamptz not null default now(),
    reason text)`,
  `create table if not exists log_marks (
    slot text primary key, position numeric(20) not null, stream text not null, revision numeric(20) not null,
    event_id text not null)`,
];

/** Only one hub makes or removes tables at a time. */
const alone = (tx: ReadModelDb) =>
  sql`select pg_advisory_xact_lock(hashtextextended(${`${controlSchema} tables`}, 0))`.execute(tx);

const createControl = async (tx: ReadModelDb): Promise<void> => {
  await sql`create schema if not exists ${sql.id(controlSchema)}`.execute(tx);
  await sql`set local search_path = ${sql.id(controlSchema)}`.execute(tx);
  for (const statement of controlTables) await sql.raw(statement).execute(tx);
};

const createIn = async (tx: ReadModelDb, { projection, schema }: Generation): Promise<void> => {
  await dropIn(tx, schema);
  await sql`create schema ${sql.id(schema)}`.execute(tx);
  await sql.raw(`set local search_path = ${searchPath([schema])}`).execute(tx);
  for (const statement of Object.values(projection.tables).flat()) await sql.raw(statement).execute(tx);
  await tx.insertInto('checkpoints').values({ projection: schema, position: '0' }).execute();
};

const dropIn = async (tx: ReadModelDb, schema: string): Promise<void> => {
  await sql`set local search_path = ${sql.id(controlSchema)}`.execute(tx);
  await sql`drop schema if exists ${sql.id(schema)} cascade`.execute(tx);
  await tx.deleteFrom('checkpoints').where('projection', '=', schema).execute();
  await tx.deleteFrom('parked_streams').where('projection', '=', schema).execute();
};

const tablesBySchema = async (tx: ReadModelDb, schemas: readonly string[]) => {
  const { rows } = await sql<{ schema: string; table: string }>`
    select n.nspname as schema, c.relname as table from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind = 'r' and n.nspname in (${sql.join(schemas)})
  `.execute(tx);
  return Map.groupBy(rows, ({ schema }) => schema);
};

/**
 * Sees to it that every generation is there whole: one without a table or without its checkpoint (it is new, or somebody
 * dropped it) is made anew and begins with the first event.
 */
export const ensureGenerations = (db: ReadModelDb, generations: readonly Generation[]): Promise<void> =>
  db.transaction().execute(async (tx) => {
    await alone(tx);
    await createControl(tx);
    const schemas = generations.map(({ schema }) => schema);
    if (schemas.length === 0) return;
    const tables = await tablesBySchema(tx, schemas);
    const checkpoints = await tx
      .selectFrom('checkpoints')
      .select('projection')
      .where('projection', 'in', schemas)
      .execute();
    for (const generation of generations) {
      const present = new Set(tables.get(generation.schema)?.map(({ table }) => table));
      const whole =
        Object.keys(generation.projection.tables).every((table) => present.has(table)) &&
        checkpoints.some(({ projection }) => projection === generation.schema);
      if (!whole) await createIn(tx, generation);
    }
  });

/** Makes generations anew, whatever is there. */
export const createGenerations = (db: ReadModelDb, generations: readonly Generation[]): Promise<void> =>
  db.transaction().execute(async (tx) => {
    await alone(tx);
    for (const generation of generations) await createIn(tx, generation);
  });

/**
 * Everything that follows a log goes, of whichever version and whether it is live or being built, and the generations named
 * are made anew: they begin with the first event. All or nothing, together with what `note` writes.
 */
export const beginAnew = (
  db: ReadModelDb,
  generations: readonly Generation[],
  note: (tx: ReadModelDb) => Promise<void>,
): Promise<void> =>
  db.transaction().execute(async (tx) => {
    await alone(tx);
    await createControl(tx);
    await sql`set local lock_timeout = '5s'`.execute(tx);
    // The checkpoints first, as a batch does: neither then holds what the other waits for.
    await tx.selectFrom('checkpoints').select('projection').orderBy('projection').forUpdate().execute();
    for (const schema of await storedSchemas(tx, schemaPrefix)) await dropIn(tx, schema);
    await tx.deleteFrom('checkpoints').execute();
    await tx.deleteFrom('parked_streams').execute();
    for (const generation of generations) await createIn(tx, generation);
    await note(tx);
  });

/** Waits for nobody for long: a reader that is still in the old tables makes it fail, to be tried again. */
export const dropGeneration = (db: ReadModelDb, schema: string): Promise<void> =>
  db.transaction().execute(async (tx) => {
    await sql`set local lock_timeout = '500ms'`.execute(tx);
    await dropIn(tx, schema);
  });

/** All schemas of read models in the database, whoever made them. */
export const storedSchemas = async (db: Kysely<ReadModel>, prefix: string): Promise<readonly string[]> => {
  const { rows } = await sql<{ schema: string }>`
    select nspname as schema from pg_namespace where starts_with(nspname, ${prefix}) order by nspname
  `.execute(db);
  return rows.map(({ schema }) => schema);
};
