import { tryLocks, unlockAll, useLock } from './advisory-lock.ts';
import type { Generation } from './generation.ts';
import { beginAnew } from './generations.ts';
import { pause } from './pause.ts';
import type { ReadModelDb } from './projection.ts';

/** Another hub uses the tables, for the log that they are of. */
export class TablesInUse extends Error {
  constructor(why: string) {
    super(
      `The read models in the database are of another event log than this hub's: ${why}. Another hub uses them now. Stop every hub on this database and start this one again, or give it a database of its own (SENDENSE_DATABASE).`,
    );
    this.name = 'TablesInUse';
  }
}

type Anew = Readonly<{
  generations: readonly Generation[];
  /** Why they are of another log. */
  why: string;
  note: (tx: ReadModelDb) => Promise<void>;
  /** How long a hub that is just stopping is waited for. */
  patienceMs: number;
}>;

const tryAgainMs = 250;

/**
 * Begins the generations anew while nobody uses them: who still does follows the log that they are of, and would go on
 * adding its events to the new rows. Throws `TablesInUse`.
 */
export const beginAnewAlone = async (
  connection: ReadModelDb,
  { generations, why, note, patienceMs }: Anew,
  signal: AbortSignal,
): Promise<void> => {
  const names = generations.map(({ schema }) => useLock(schema));
  const until = performance.now() + patienceMs;
  while (!(await tryLocks(connection, names))) {
    if (performance.now() > until) throw new TablesInUse(why);
    await pause(tryAgainMs, signal);
    signal.throwIfAborted();
  }
  try {
    await beginAnew(connection, generations, note);
  } finally {
    await unlockAll(connection, names);
  }
};
