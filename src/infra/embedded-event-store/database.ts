import { closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

// https://www.sqlite.org/rescode.html: the low byte is the primary code.
const sqliteBusy = 5;
const sqliteFull = 13;

const primaryCodeOf = (error: unknown): number | undefined => {
  const isSqlite = error instanceof Error && 'errcode' in error && typeof error.errcode === 'number';
  return isSqlite ? Number(error.errcode) & 0xff : undefined;
};

export const isDiskFull = (error: unknown): boolean => primaryCodeOf(error) === sqliteFull;
export const isLockedByAnother = (error: unknown): boolean => primaryCodeOf(error) === sqliteBusy;

const schemaVersion = 1;

/** `record` is last: SQLite does not read the pages of a column that nobody asked for, nor of those after it. */
const schema = `
  create table if not exists streams (
    id integer primary key,
    name text not null unique,
    last integer not null,
    tombstoned integer not null default 0
  ) strict;
  create table if not exists events (
    position integer primary key,
    stream integer not null,
    revision integer not null,
    created_ms integer not null,
    type text not null,
    record blob not null,
    unique (stream, revision)
  ) strict;
`;

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

/** Writes nothing if there is nothing to do: also a store on a full disk must start, to be read. */
const prepareSchema = (database: DatabaseSync, path: string): void => {
  const found = Number(database.prepare('pragma user_version').get()?.user_version);
  if (found === schemaVersion) return;
  if (found > schemaVersion) {
    throw new Error(`${path} was written by a newer Sendense (schema ${found}; this one knows ${schemaVersion}).`);
  }
  database.exec(`begin immediate; ${schema} pragma user_version = ${schemaVersion}; commit`);
};

/**
 * Opens, and if need be creates and recovers, the one database of a data directory. Exclusive locking lets exactly one
 * process in; the kernel drops that lock with the process, however it dies. Throws SQLite's BUSY while another holds it.
 */
export const openDatabase = (dataDir: string, maxSizeBytes?: number): DatabaseSync => {
  mkdirSync(dataDir, { recursive: true, mode: 0o700 });
  const path = join(dataDir, 'events.sqlite');
  createPrivately(path);
  const database = new DatabaseSync(path, { timeout: 0 });
  try {
    // Exclusive before the first access to the log: then SQLite needs no shared memory file either.
    database.exec('pragma locking_mode = exclusive');
    database.exec('pragma journal_mode = wal');
    // FULL syncs the log at every commit: what is acknowledged survives a power cut.
    database.exec('pragma synchronous = full');
    database.exec('pragma cache_size = -16384');
    database.exec('pragma journal_size_limit = 67108864');
    if (maxSizeBytes !== undefined) limitSize(database, maxSizeBytes);
    prepareSchema(database, path);
    return database;
  } catch (error) {
    database.close();
    throw error;
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
