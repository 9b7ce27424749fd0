import { Kysely, PostgresDialect } from 'kysely';
import pg from 'pg';
import type { ReadModel } from '#projections/read-model.ts';
import { types } from './database.ts';

/** Tables that live as long as one connection. */
export type MomentTables = Readonly<{
  db: Kysely<ReadModel>;
  /** All statements in one transaction. */
  write: (statements: readonly string[]) => Promise<void>;
  /** Tells the planner what is in these tables, once they are filled. */
  analyse: (tables: readonly string[]) => Promise<void>;
  /** The connection is gone, and the tables with it. */
  isLost: () => boolean;
  /** Waits for queries under way. */
  close: () => Promise<void>;
}>;

/**
 * Temporary tables under the plain names of the read models': PostgreSQL drops them with the connection, so that nothing is
 * left whatever becomes of the hub, and never writes them to its log. One connection serves one question after the other.
 */
export const openMomentTables = async (settings: pg.PoolConfig, create: readonly string[]): Promise<MomentTables> => {
  // Named first, the temporary schema is where tables are made and found.
  const options = '-c search_path=pg_temp -c temp_buffers=16MB';
  const application_name = 'sendense history';
  const pool = new pg.Pool({ ...settings, types, options, application_name, max: 1, min: 1, idleTimeoutMillis: 0 });
  let lost = false;
  const lose = (): void => {
    lost = true;
  };
  pool.on('error', lose);
  pool.on('remove', lose);
  pool.on('connect', (client) => client.on('error', lose));
  const write = async (statements: readonly string[]): Promise<void> => {
    if (statements.length === 0) return;
    const client = await pool.connect();
    try {
      // Sent as one text they are one transaction, without being told so.
      await client.query(statements.join(';\n'));
    } finally {
      // The pool's own `query` would end the connection, and the tables, after a statement that failed.
      client.release();
    }
  };
  const db = new Kysely<ReadModel>({ dialect: new PostgresDialect({ pool }) });
  try {
    await write(create);
  } catch (error) {
    await db.destroy();
    throw error;
  }
  return {
    db,
    write,
    analyse: (tables) => write(tables.map((table) => `analyze ${pg.escapeIdentifier(table)}`)),
    isLost: () => lost,
    close: () => db.destroy(),
  };
};
