import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ConfigError } from './config.ts';
import { readIfThere, writePrivate } from './event-export/private-file.ts';

const markerOf = (dataDir: string): string => join(dataDir, 'import.json');

/** A hub must not work on half a history; told like a wrong setting, which keeps it from starting as well. */
export class UnfinishedImport extends ConfigError {
  constructor(dataDir: string, what: string) {
    super([
      `An import into ${dataDir} was broken off (${what}). Repeat the same command: it goes on where it stopped. Then start the hub.`,
    ]);
    this.name = 'UnfinishedImport';
  }
}

/** From the first event that an import writes until it is complete. */
export const markImport = (dataDir: string, what: string): Promise<void> =>
  writePrivate(markerOf(dataDir), `${JSON.stringify({ what })}\n`);

export const unmarkImport = (dataDir: string): Promise<void> => rm(markerOf(dataDir), { force: true });

/** Throws `UnfinishedImport`. */
export const assertNoUnfinishedImport = async (dataDir: string): Promise<void> => {
  const text = await readIfThere(markerOf(dataDir));
  if (text === undefined) return;
  throw new UnfinishedImport(dataDir, (JSON.parse(text) as { what: string }).what);
};
