import { closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { refuseToBeginAnew } from './acknowledged.ts';
import { StoreDamaged } from './damage.ts';
import { prepareSchema } from './schema.ts';
import { isDamageReport, isDiskFull } from './sqlite-errors.ts';

const incrementalVacuum = 2;

/** Creating it here, not by SQLite, gives it (and the files SQLite derives from it) the mode 0600. */
const createPrivately = (path: string): void => {
  try {
    closeSync(openSync(path, 'wx', 0o600));
  } catch (error) {
    // An existing file must not be opened and closed: that would drop the POSIX locks of this process on it.
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  }
};

const limitSize = (database: DatabaseSync, maxSizeBytes: number): void => {
  const pageSize = Number(database.prepare('pragma page_size').get()?.page_size);
  database.exec(`pragma max_page_count = ${Math.max(1, Math.floor(maxSizeBytes / pageSize))}`);
};

/**
 * Free pages can be given back to the filesystem in small steps only if the file was laid out for it. One that was not is
 * rewritten once; on a disk that is too full for that it stays as it is, and its free pages are used again.
 */
const makeShrinkable = (database: DatabaseSync): void => {
  if (database.prepare('pragma auto_vacuum').get()?.auto_vacuum === incrementalVacuum) return;
  try {
    database.exec('pragma auto_vacuum = incremental; vacuum');
  } catch (error) {
    if (!isDiskFull(error)) throw error;
  }
};

const configure = (database: DatabaseSync, path: string, maxSizeBytes: number | undefined): void => {
  // Exclusive before the first access to the log: then SQLite needs no shared memory file either.
  database.exec('pragma locking_mode = exclusive');
  database.exec('pragma journal_mode = wal');
  // FULL syncs the log at every commit: what is acknowledged survives a power cut.
  database.exec('pragma synchronous = full');
  database.exec('pragma cache_size = -16384');
  database.exec('pragma journal_size_limit = 67108864');
  if (maxSizeBytes !== undefined) limitSize(database, maxSizeBytes);
  prepareSchema(database, path);
  makeShrinkable(database);
};

/**
 * Opens, and if need be creates and recovers, the one database of a data directory. Exclusive locking lets exactly one
 * process in; the kernel drops that lock with the process, however it dies. Throws SQLite's BUSY while another holds it,
 * and `StoreDamaged` if its files are not what was left behind.
 */
export const openDatabase = (dataDir: string, maxSizeBytes?: number): DatabaseSync => {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const path = join(dataDir, 'events.sqlite');
  refuseToBeginAnew(dataDir, path);
  createPrivately(path);
  const database = new DatabaseSync(path, { timeout: 0 });
  try {
    configure(database, path, maxSizeBytes);
    return database;
  } catch (error) {
    database.close();
    if (!isDamageReport(error)) throw error;
    const said = error instanceof Error ? error.message : String(error);
    throw new StoreDamaged(path, `it cannot be opened (${said})`, { structural: true, cause: error });
  }
};

/** Moves what the log holds into the database, as far as there is room: the next start does the rest. */
export const closeDatabase = (database: DatabaseSync): void => {
  try {
    database.exec('pragma wal_checkpoint(truncate)');
  } catch (error) {
    if (!isDiskFull(error)) throw error;
  } finally {
    database.close();
  }
};
