import { inTurn, logLock, shareLock, unshareLock, useLock } from './advisory-lock.ts';
import { TablesInUse } from './begin-anew.ts';
import type { Generation } from './generation.ts';
import { pause } from './pause.ts';
import type { ReadModelDb } from './projection.ts';

export type GenerationsInUse = Readonly<{
  /** Resolves when it is said for the first time. Rejects when that is refused, or the signal came before. */
  held: Promise<void>;
  /** Ends with the signal, or when it was refused. */
  ended: Promise<void>;
}>;

type UseOptions = Readonly<{
  /** Run each time before the tables are claimed; nobody else settles or claims them meanwhile. */
  settle?: (connection: ReadModelDb) => Promise<void>;
  /** Why they could not be settled; it is tried again. */
  onProblem?: (error: unknown) => void;
}>;

const lookEveryMs = 10_000;
const tryAgainMs = 1_000;

/**
 * Says that this hub uses its generations, for as long as it runs: on one connection, which is asked now and then, and
 * taken anew when it broke. Tables that were dropped in between are made anew by the runner.
 */
export const useGenerations = (
  db: ReadModelDb,
  generations: readonly Generation[],
  signal: AbortSignal,
  { settle = async () => undefined, onProblem = () => undefined }: UseOptions = {},
): GenerationsInUse => {
  const names = generations.map(({ schema }) => useLock(schema));
  const held = Promise.withResolvers<void>();
  held.promise.catch(() => undefined); // seen by whoever waits for it
  let claimed = false;

  const hold = (connection: ReadModelDb) => async () => {
    await settle(connection);
    for (const name of names) await shareLock(connection, name);
    claimed = true;
    held.resolve();
  };

  const use = async (connection: ReadModelDb): Promise<void> => {
    await inTurn(connection, logLock, hold(connection));
    while (!signal.aborted) {
      await pause(lookEveryMs, signal);
      await connection.selectFrom('checkpoints').select('projection').limit(1).execute();
    }
    for (const name of names) await unshareLock(connection, name);
  };

  const run = async (): Promise<void> => {
    while (!signal.aborted) {
      try {
        await db.connection().execute(use);
      } catch (error) {
        if (error instanceof TablesInUse) return held.reject(error);
        if (!claimed && !signal.aborted) onProblem(error);
        await pause(tryAgainMs, signal);
      }
    }
    held.reject(signal.reason);
  };

  return { held: held.promise, ended: run() };
};
