import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { pino } from 'pino';
import { startEmbeddedPostgres } from '#infra/embedded-postgres/embedded-postgres.ts';
import { type Database, openDatabase } from '#infra/postgres/database.ts';

export type TestPostgres = Readonly<{
  /** An empty database with the newest tables; it is closed by the next one, or with the server. */
  fresh: () => Promise<Database>;
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
  await (await openDatabase({ ...connection, database: 'migrated' })).close();
  let current: Database | undefined;
  return {
    fresh: async () => {
      await current?.close();
      const name = `test_${randomUUID().replaceAll('-', '')}`;
      await admin.query(`create database ${name} template migrated`);
      current = await openDatabase({ ...connection, database: name });
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
