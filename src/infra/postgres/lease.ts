import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';

export type LeaseOptions = Readonly<{
  settings: pg.ClientConfig;
  /** What is held: two programs that name the same never hold it at once. */
  name: string;
  /** Runs while the lease is held; its signal aborts when the lease is lost. Must not return before it has stopped. */
  work: (signal: AbortSignal) => Promise<void>;
  onProblem: (error: unknown) => void;
}>;

const retryMs = 1_000;

/** Holds the lease once, if nobody else does, until the connection ends or the signal aborts. */
const holdOnce = async ({ settings, name, work }: LeaseOptions, signal: AbortSignal): Promise<void> => {
  const client = new pg.Client({ ...settings, application_name: 'sendense lease', keepAlive: true });
  const lost = new AbortController();
  client.on('error', (error) => lost.abort(error));
  client.on('end', () => lost.abort(new Error('the connection that holds the lease ended')));
  await client.connect();
  try {
    // hashtextextended gives the 64-bit key that advisory locks are named by.
    const query = 'select pg_try_advisory_lock(hashtextextended($1, 0)) as held';
    const { rows } = await client.query<{ held: boolean }>(query, [name]);
    if (rows[0]?.held) await work(AbortSignal.any([signal, lost.signal]));
  } finally {
    await client.end().catch(() => undefined);
  }
};

/**
 * Does the work whenever this program holds the lease: a PostgreSQL advisory lock, which ends with its connection, so a
 * program that dies gives it up. Ends with the signal, after the work has stopped.
 */
export const holdLease = async (options: LeaseOptions, signal: AbortSignal): Promise<void> => {
  while (!signal.aborted) {
    try {
      await holdOnce(options, signal);
    } catch (error) {
      if (!signal.aborted) options.onProblem(error);
    }
    await delay(retryMs, undefined, { signal }).catch(() => undefined);
  }
};
