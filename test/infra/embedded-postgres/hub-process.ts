// A process that holds an embedded PostgreSQL, for tests to kill: `hub-process.ts DATA_DIR` prints where it is.
import { startEmbeddedPostgres } from '#infra/embedded-postgres/embedded-postgres.ts';
import { createLogger } from '#infra/logger.ts';

const [, , dataDir = ''] = process.argv;
const log = createLogger({ level: 'warn' });
const postgres = await startEmbeddedPostgres({ dataDir, log }, new AbortController().signal);
process.stdout.write(`${JSON.stringify({ connection: postgres.connection, postgresPid: postgres.pid() })}\n`);
process.once('SIGTERM', () => void postgres.stop());
