import { Kysely, PostgresDialect, sql } from 'kysely';
import { type MigrationProvider, Migrator } from 'kysely/migration';
import pg from 'pg';
import * as readModelTables from '#projections/migrations/0001-read-model.ts';
import type { ReadModel } from '#projections/read-model.ts';
import * as vaultTables from './migrations/0001-vault.ts';
import type { VaultTables } from './vault-tables.ts';

/** Read models can be dropped and rebuilt; the vault cannot, so it lives in a schema of its own. */
export const schemas = { readModel: 'sendense_read', vault: 'sendense_vault' } as const;

export type Database = Readonly<{
  pool: pg.Pool;
  readModel: Kysely<ReadModel>;
  vault: Kysely<VaultTables>;
  close(): Promise<void>;
}>;

const int8 = 20;
const timestamptz = 1184;

/** Sizes fit into 2^53; log positions do not on a real cluster, so they are `numeric`, which the driver leaves as text. */
const types: pg.CustomTypesConfig = {
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

/** Pools with the schema as search path, so that tables are named plainly and a schema can be swapped. */
const openSchema = <T>(settings: pg.PoolConfig, schema: string, sessionSettings = '') => {
  const options = `-c search_path=${schema} ${sessionSettings}`;
  const pool = new pg.Pool({ ...settings, types, options, application_name: 'sendense' });
  // An idle connection that breaks (the server restarts) must not end the program: the next query gets a new one.
  pool.on('error', () => undefined);
  // The pool listens to idle connections only: one that breaks between two statements of a transaction would end it too.
  pool.on('connect', (client) => client.on('error', () => undefined));
  return { pool, db: new Kysely<T>({ dialect: new PostgresDialect({ pool }) }) };
};

/** Connects and brings both schemas to the newest version. Throws when the server cannot be reached. */
export const openDatabase = async (settings: pg.PoolConfig): Promise<Database> => {
  // Rows and checkpoint are lost together or not at all, and what is lost is applied again: no commit waits for the disk.
  const readModel = openSchema<ReadModel>({ max: 8, ...settings }, schemas.readModel, '-c synchronous_commit=off');
  const vault = openSchema<VaultTables>({ max: 2, ...settings }, schemas.vault);
  await migrate(readModel.db, schemas.readModel, {
    getMigrations: async () => ({ '0001-read-model': readModelTables }),
  });
  await migrate(vault.db, schemas.vault, { getMigrations: async () => ({ '0001-vault': vaultTables }) });
  return {
    pool: readModel.pool,
    readModel: readModel.db,
    vault: vault.db,
    close: async () => {
      await Promise.all([readModel.db.destroy(), vault.db.destroy()]);
    },
  };
};
