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

/** `entryId`: of the entry that the import leaves in the audit trail, whoever brings it to its end. */
export type ImportMark = Readonly<{ what: string; entryId?: string | undefined }>;

/** From the first event that an import writes until it is complete. */
export const markImport = (dataDir: string, mark: ImportMark): Promise<void> =>
  writePrivate(markerOf(dataDir), `${JSON.stringify(mark)}\n`);

/** Of an import that was begun and did not come to its end. */
export const unfinishedImport = async (dataDir: string): Promise<ImportMark | undefined> => {
  const text = await readIfThere(markerOf(dataDir));
  return text === undefined ? undefined : (JSON.parse(text) as ImportMark);
};

export const unmarkImport = (dataDir: string): Promise<void> => rm(markerOf(dataDir), { force: true });

/** Throws `UnfinishedImport`. */
export const assertNoUnfinishedImport = async (dataDir: string): Promise<void> => {
  const mark = await unfinishedImport(dataDir);
  if (mark) throw new UnfinishedImport(dataDir, mark.what);
};
