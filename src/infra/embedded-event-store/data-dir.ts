import { closeSync, fsyncSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';

/** Where a running event store is: its `event-store.json`. */
export type EventStoreAddress = Readonly<{ connection: string; port: number; pid: number }>;

const addressPath = (dataDir: string): string => join(dataDir, 'event-store.json');
const ownerPath = (dataDir: string): string => join(dataDir, 'event-store.pid');

/**
 * Whole or not at all, also for a reader at any moment. It only tells others about a process that runs, so it must not
 * keep that from running: on a full disk it is left out.
 */
const announce = (path: string, content: string): void => {
  const partial = `${path}.partial`;
  try {
    const file = openSync(partial, 'w', 0o600);
    try {
      writeSync(file, content);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(partial, path);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOSPC')) throw error;
    rmSync(partial, { force: true });
    rmSync(path, { force: true }); // a predecessor's would tell lies
  }
};

export const publishAddress = (dataDir: string, address: EventStoreAddress): void =>
  announce(addressPath(dataDir), `${JSON.stringify(address)}\n`);

export const withdrawAddress = (dataDir: string): void => rmSync(addressPath(dataDir), { force: true });

/** Only whoever holds the lock of the database may call it; the file names the holder, it is not the lock. */
export const writeOwner = (dataDir: string): void => announce(ownerPath(dataDir), `${process.pid}\n`);

export const removeOwner = (dataDir: string): void => rmSync(ownerPath(dataDir), { force: true });

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
};

const readOwner = (dataDir: string): number | undefined => {
  try {
    const pid = Number(readFileSync(ownerPath(dataDir), 'utf8'));
    return Number.isInteger(pid) && pid > 0 && isAlive(pid) ? pid : undefined;
  } catch {
    return undefined; // the holder has not written it yet, or is just leaving
  }
};

/** Another process works in this data directory: there is no safe way to share it. */
export class DataDirInUse extends Error {
  override readonly name = 'DataDirInUse';
  readonly pid: number | undefined;

  constructor(dataDir: string, cause: unknown) {
    const pid = readOwner(dataDir);
    const holder = pid === undefined ? 'another process' : `the Sendense event store with pid ${pid}`;
    super(`The event store in ${dataDir} is already in use by ${holder}.`, { cause });
    this.pid = pid;
  }
}
