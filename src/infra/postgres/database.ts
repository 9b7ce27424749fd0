import { Kysely, PostgresDialect, sql } from 'kysely';
import { type MigrationProvider, Migrator } from 'kysely/migration';
import pg from 'pg';
import { liveGenerations, searchPath } from '#projections/generation.ts';
import { ensureGenerations } from '#projections/generations.ts';
import type { AnyProjection } from '#projections/projection.ts';
import type { ReadModel } from '#projections/read-model.ts';
import * as vaultTables from './migrations/0001-vault.ts';
import type { VaultTables } from './vault-tables.ts';

/** Read models can be dropped and rebuilt; the vault cannot, so it lives in a schema of its own. */
const vaultSchema = 'sendense_vault';

export type Database = Readonly<{
  pool: pg.Pool;
  /** Finds the tables of the live generations by their plain names. */
  readModel: Kysely<ReadModel>;
  /** Other generations of the same tables. The caller closes it. */
  openSchemas: (schemas: readonly string[]) => Kysely<ReadModel>;
  vault: Kysely<VaultTables>;
  close(): Promise<void>;
}>;

const int8 = 20;
const timestamptz = 1184;

/** Sizes fit into 2^53; log positions do not on a real cluster, so they are `numeric`, which the driver leaves as text. */
export const types: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: 'text') => {
    if (oid === int8) return Number;
    if (oid === timestamptz) return (text: string) => new Date(text).toISOString();
    return pg.types.getTypeParser(oid, format);
  }) as typeof pg.types.getTypeParser,
};

const migrate = async <T>(db: Kysely<T>, schema: string, provider: MigrationProvider): Promise<void> => {
  await sql`create schema if not exists ${sql.id(schema)}`.execute(db);
  const migrator = new Migrator({ db, provider, migrationTableSchema: schema });
  const { error } = await migrator.migrateToLatest();
  if (error) throw new Error(`migration of ${schema} failed`, { cause: error });
};

/** Pools with a search path, so that tables are named plainly and a schema can be swapped for another. */
const openPool = <T>(settings: pg.PoolConfig, path: string, sessionSettings = '') => {
  const options = `-c search_path=${path} ${sessionSettings}`;
  const pool = new pg.Pool({ ...settings, types, options, application_name: 'sendense' });
  // An idle connection that breaks (the server restarts) must not end the program: the next query gets a new one.
  pool.on('error', () => undefined);
  // The pool listens to idle connections only: one that breaks between two statements of a transaction would end it too.
  pool.on('connect', (client) => client.on('error', () => undefined));
  return { pool, db: new Kysely<T>({ dialect: new PostgresDialect({ pool }) }) };
};

/** Rows and checkpoint are lost together or not at all, and what is lost is applied again: no commit waits for the disk. */
const readModelSettings = '-c synchronous_commit=off -c jit=off';

/** Connects, sees to the tables of the projections and brings the vault to the newest version. Throws when it cannot. */
export const openDatabase = async (
  settings: pg.PoolConfig,
  projections: readonly AnyProjection[],
): Promise<Database> => {
  const generations = liveGenerations(projections);
  const path = (schemas: readonly string[]): string => searchPath(schemas);
  const live = path(generations.map(({ schema }) => schema));
  // One connection stays taken for as long as the hub runs: it says which generations are in use.
  const readModel = openPool<ReadModel>({ max: 9, ...settings }, live, readModelSettings);
  const vault = openPool<VaultTables>({ max: 2, ...settings }, vaultSchema);
  const close = async (): Promise<void> => {
    await Promise.all([readModel.db.destroy(), vault.db.destroy()]);
  };
  try {
    await ensureGenerations(readModel.db, generations);
    await migrate(vault.db, vaultSchema, { getMigrations: async () => ({ '0001-vault': vaultTables }) });
  } catch (error) {
    await close();
    throw error;
  }
  return {
    pool: readModel.pool,
    readModel: readModel.db,
    openSchemas: (schemas) => openPool<ReadModel>({ max: 3, ...settings }, path(schemas), readModelSettings).db,
    vault: vault.db,
    close,
  };
};
