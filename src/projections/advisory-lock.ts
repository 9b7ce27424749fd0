import { type RawBuilder, sql } from 'kysely';
import type { ReadModelDb } from './projection.ts';

/** Held by whoever builds a generation beside a live one: one at a time, of all hubs on this database. */
export const buildLock = 'sendense read model build';

/** Held by who finds out whether the tables are of its log, and until it says that it uses them. */
export const logLock = 'sendense read model log';

/** Shared by the hubs that keep a generation up. */
export const useLock = (schema: string): string => `sendense read model ${schema}`;

const keyOf = (name: string): RawBuilder<string> => sql<string>`hashtextextended(${name}, 0)`;

const tryLock = async (connection: ReadModelDb, name: string): Promise<boolean> => {
  const { rows } = await sql<{ held: boolean }>`select pg_try_advisory_lock(${keyOf(name)}) as held`.execute(
    connection,
  );
  return rows[0]?.held ?? false;
};

/** On a connection that broke there is nothing left to give back. */
const unlock = async (connection: ReadModelDb, name: string): Promise<void> => {
  await sql`select pg_advisory_unlock(${keyOf(name)})`.execute(connection).catch(() => undefined);
};

/**
 * Does the work while this connection holds the lock alone; undefined when somebody else holds it. The lock ends with the
 * connection, so work that must be alone when it ends is done on this very connection.
 */
export const withLock = (
  db: ReadModelDb,
  name: string,
  work: (connection: ReadModelDb) => Promise<void>,
): Promise<boolean> =>
  db.connection().execute(async (connection) => {
    if (!(await tryLock(connection, name))) return false;
    try {
      await work(connection);
    } finally {
      await unlock(connection, name);
    }
    return true;
  });

/** The same, but waits for its turn. */
export const inTurn = async (connection: ReadModelDb, name: string, work: () => Promise<void>): Promise<void> => {
  await sql`select pg_advisory_lock(${keyOf(name)})`.execute(connection);
  try {
    await work();
  } finally {
    await unlock(connection, name);
  }
};

/** Takes them all, or none when somebody else holds one. */
export const tryLocks = async (connection: ReadModelDb, names: readonly string[]): Promise<boolean> => {
  for (const [index, name] of names.entries()) {
    if (await tryLock(connection, name)) continue;
    await unlockAll(connection, names.slice(0, index));
    return false;
  }
  return true;
};

export const unlockAll = async (connection: ReadModelDb, names: readonly string[]): Promise<void> => {
  for (const name of names) await unlock(connection, name);
};

export const shareLock = async (connection: ReadModelDb, name: string): Promise<void> => {
  await sql`select pg_advisory_lock_shared(${keyOf(name)})`.execute(connection);
};

export const unshareLock = async (connection: ReadModelDb, name: string): Promise<void> => {
  await sql`select pg_advisory_unlock_shared(${keyOf(name)})`.execute(connection);
};

export const isLocked = async (db: ReadModelDb, name: string): Promise<boolean> => {
  const { rows } = await sql<{ held: boolean }>`
    select exists (
      select 1 from pg_locks
      where locktype = 'advisory' and objsubid = 1 and granted
        and database = (select oid from pg_database where datname = current_database())
        and ((classid::bigint << 32) | objid::bigint) = ${keyOf(name)}
    ) as held
  `.execute(db);
  return rows[0]?.held ?? false;
};
