import { buildLock, useLock, withLock } from './advisory-lock.ts';
import { type Generation, schemaPrefix, whatBeside } from './generation.ts';
import { dropGeneration, storedSchemas } from './generations.ts';
import { pause } from './pause.ts';
import type { ReadModelDb } from './projection.ts';

const attempts = 20;

/** Somebody may still be reading: what cannot be dropped now is dropped by the next who tidies up. */
const dropPatiently = async (db: ReadModelDb, schema: string): Promise<void> => {
  for (let attempt = 1; attempt <= attempts; attempt += 1) {
    const dropped = await dropGeneration(db, schema).then(
      () => true,
      () => false,
    );
    if (dropped) return;
  }
};

/** What a build left beside the live generations. Only for who holds the build lock. */
export const dropBeside = async (db: ReadModelDb): Promise<void> => {
  const schemas = await storedSchemas(db, schemaPrefix);
  for (const schema of schemas.filter((name) => whatBeside(name) !== undefined)) await dropPatiently(db, schema);
};

const tidyEveryMs = 3_600_000;

/** At once, and again from time to time: a hub of another version may have ended since. */
export const keepTidy = async (
  db: ReadModelDb,
  own: readonly Generation[],
  onProblem: (error: unknown) => void,
  signal: AbortSignal,
): Promise<void> => {
  while (!signal.aborted) {
    await tidyGenerations(db, own).catch((error: unknown) => {
      if (!signal.aborted) onProblem(error);
    });
    await pause(tidyEveryMs, signal);
  }
};

/** Drops what a killed rebuild left, and the generations of other versions that no hub uses any more. */
export const tidyGenerations = async (db: ReadModelDb, own: readonly Generation[]): Promise<void> => {
  await withLock(db, buildLock, async () => {
    await dropBeside(db);
    const mine = new Set(own.map(({ schema }) => schema));
    for (const schema of await storedSchemas(db, schemaPrefix)) {
      if (mine.has(schema) || whatBeside(schema) !== undefined) continue;
      await withLock(db, useLock(schema), () => dropPatiently(db, schema));
    }
  });
};
