import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach } from 'node:test';
import pg from 'pg';
import { pino } from 'pino';
import { startEmbeddedPostgres } from '#infra/embedded-postgres/embedded-postgres.ts';
import { type Database, openDatabase } from '#infra/postgres/database.ts';
import type { AnyProjection } from '#projections/projection.ts';
import { projections } from '../../src/composition/read-model.ts';

export type TestPostgres = Readonly<{
  /** An empty database with the newest tables; it is closed by the next one, or with the server. */
  fresh: (others?: readonly AnyProjection[]) => Promise<Database>;
  /** The same database as another hub sees it; the caller closes it. */
  again: (others?: readonly AnyProjection[]) => Promise<Database>;
  stop: () => Promise<void>;
}>;

/** A real server for one test file; its databases are copies of one that was migrated once. */
export const startPostgres = async (): Promise<TestPostgres> => {
  const dataDir = await mkdtemp(join(tmpdir(), 'sendense-postgres-'));
  const log = pino({ level: 'silent' });
  const { connection, stop } = await startEmbeddedPostgres({ dataDir, log }, new AbortController().signal);
  // A client, not a pool: its end waits until the connection is closed.
  const admin = new pg.Client(connection);
  await admin.connect();
  await admin.query('create database migrated');
  await (await openDatabase({ ...connection, database: 'migrated' }, projections)).close();
  let current: Database | undefined;
  let database = 'migrated';
  return {
    again: (others = projections) => openDatabase({ ...connection, database }, others),
    fresh: async (others = projections) => {
      await current?.close();
      const name = `test_${randomUUID().replaceAll('-', '')}`;
      await admin.query(`create database ${name} template migrated`);
      database = name;
      current = await openDatabase({ ...connection, database }, others);
      return current;
    },
    stop: async () => {
      await current?.close();
      await admin.end();
      await stop();
      await rm(dataDir, { recursive: true, force: true });
    },
  };
};

/** A server for the tests of the file that calls it, and an empty database for each of them. */
export const eachWithDatabase = (
  use: (database: Database, postgres: TestPostgres) => void,
  others?: readonly AnyProjection[],
): void => {
  let postgres: TestPostgres;
  before(async () => {
    postgres = await startPostgres();
  });
  after(() => postgres.stop());
  beforeEach(async () => use(await postgres.fresh(others), postgres));
};
