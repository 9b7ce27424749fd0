import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { z } from 'zod';

/** Who works on a data directory. */
export type LockHolder = Readonly<{ program: string; pid: number }>;

/** Another process works on this data directory. */
export class DataDirLocked extends Error {
  readonly holder: LockHolder | undefined;
  constructor(dir: string, holder: LockHolder | undefined, options: ErrorOptions) {
    const who = holder ? `${holder.program} with pid ${holder.pid}` : 'another process';
    super(`The data directory ${dir} is in use by ${who}.`, options);
    this.name = 'DataDirLocked';
    this.holder = holder;
  }
}

/** A held lock. The kernel takes it back from a process that ends, however that ends. */
export interface DataDirLock {
  /** May be called again. */
  release(): void;
}

// https://www.sqlite.org/rescode.html
const sqliteBusy = 5;

const Holder = z.object({ program: z.string(), pid: z.number() });

const readHolder = (path: string): LockHolder | undefined => {
  try {
    return Holder.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch {
    return undefined; // it is about to write its name: the lock comes first
  }
};

/**
 * Takes the lock of a data directory, which is made if it is missing; throws DataDirLocked if somebody has it.
 * Node has no flock, and a pid file lies after a crash and after a pid was reused. SQLite's exclusive transaction is a
 * lock of the kernel's. Nothing else may open `lock.sqlite`: when a process closes a file its locks on it are gone
 * (fcntl(2)), so the holder's name stands in a file beside it.
 */
export const lockDataDir = (dir: string, program: string): DataDirLock => {
  mkdirSync(dir, { recursive: true, mode: 0o750 });
  const holderFile = join(dir, 'lock.json');
  const database = new DatabaseSync(join(dir, 'lock.sqlite'), { timeout: 0 });
  try {
    // In memory, so that a kill leaves no journal which the next start would have to roll back.
    database.exec('PRAGMA journal_mode = MEMORY; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
  } catch (cause) {
    database.close();
    if (cause instanceof Error && 'errcode' in cause && cause.errcode === sqliteBusy) {
      throw new DataDirLocked(dir, readHolder(holderFile), { cause });
    }
    throw cause;
  }
  writeFileSync(holderFile, `${JSON.stringify({ program, pid: process.pid })}\n`, { mode: 0o640 });
  const release = (): void => {
    if (!database.isOpen) return;
    rmSync(holderFile, { force: true });
    database.close();
  };
  return { release };
};
