import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { Client } from 'pg';
import { pino } from 'pino';
import { z } from 'zod';
import type { PostgresConnection } from '#infra/embedded-postgres/embedded-postgres.ts';

export const quiet = pino({ level: 'silent' });
export const never = new AbortController().signal;

/** Runs the statements on a connection of their own and returns the last one's rows. */
export const query = async (connection: PostgresConnection, ...statements: string[]): Promise<readonly unknown[]> => {
  const client = new Client(connection);
  client.on('error', () => undefined); // a test may kill the server under it; the query tells
  await client.connect();
  try {
    let rows: readonly unknown[] = [];
    for (const statement of statements) ({ rows } = await client.query(statement));
    return rows;
  } finally {
    await client.end();
  }
};

/** Waits for a condition, which may throw while it does not hold. */
export const eventually = async (what: string, holds: () => boolean | Promise<boolean>): Promise<void> => {
  const deadline = Date.now() + 20_000;
  let last: unknown;
  while (Date.now() < deadline) {
    try {
      if (await holds()) return;
    } catch (error) {
      last = error;
    }
    await delay(20);
  }
  throw new Error(`not within 20 s: ${what}`, { cause: last });
};

const Started = z.object({
  connection: z.object({
    host: z.string(),
    port: z.number(),
    user: z.string(),
    password: z.string(),
    database: z.string(),
  }),
  postgresPid: z.number(),
});

/** Starts `hub-process.ts`, by way of another program if one is given, and returns once PostgreSQL is up. */
export const startHubProcess = async (dataDir: string, by: readonly string[] = []) => {
  const script = fileURLToPath(new URL('hub-process.ts', import.meta.url));
  const [file = '', ...args] = [...by, process.execPath, script, dataDir];
  const child = execa(file, args, { reject: false, buffer: false, stdin: 'ignore', stderr: 'inherit', cwd: '/' });
  const [line] = await once(createInterface({ input: child.stdout }), 'line');
  const { connection, postgresPid } = Started.parse(JSON.parse(String(line)));
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    child.kill(signal);
    await child;
  };
  return { connection, postgresPid, end };
};
