import { closeSync, fsyncSync, openSync, readFileSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { rowSum } from './checksums.ts';
import { StoreDamaged } from './damage.ts';

const markBytes = 32;

const markPath = (dataDir: string): string => join(dataDir, 'event-store.acknowledged');

const encode = (position: number): Buffer => Buffer.from(`${position} ${rowSum(position)}\n`.padEnd(markBytes, '\n'));

const readMark = (path: string): number => {
  try {
    const [position, sum] = readFileSync(path, 'utf8').trim().split(' ').map(Number);
    return position !== undefined && sum === rowSum(position) ? position : 0;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return 0;
    throw error;
  }
};

const isEmptyOrMissing = (path: string): boolean => (statSync(path, { throwIfNoEntry: false })?.size ?? 0) === 0;

/** Before SQLite sees the files: next to an empty one it would remove the log, which may hold everything. */
export const refuseToBeginAnew = (dataDir: string, path: string): void => {
  const acknowledged = readMark(markPath(dataDir));
  if (acknowledged === 0 || !isEmptyOrMissing(path)) return;
  const what = `it is missing or empty, although events up to position ${acknowledged} were acknowledged`;
  throw new StoreDamaged(path, what, { structural: true });
};

/**
 * Remembers, beside the database, how far events were acknowledged. SQLite ends its log at the first frame that is not
 * right: correct after a crash, which can only tear what nobody was told of, but a log that was cut off, damaged or lost
 * would look the same. The mark tells them apart. It is not synced (that would cost a second fsync per commit): after a
 * power cut it may be some seconds behind, never ahead.
 */
export class AcknowledgedMark {
  readonly #file: number | undefined;
  readonly position: number;

  constructor(dataDir: string) {
    const path = markPath(dataDir);
    this.position = readMark(path);
    this.#file = openMark(path, this.position);
  }

  write(position: number): void {
    if (this.#file !== undefined) writeSync(this.#file, encode(position), 0, markBytes, 0);
  }

  close(): void {
    if (this.#file === undefined) return;
    fsyncSync(this.#file);
    closeSync(this.#file);
  }
}

/** Written once here, so that its block is there when the disk is full; on a full disk the store works without. */
const openMark = (path: string, position: number): number | undefined => {
  const file = openSync(path, readable(path) ? 'r+' : 'w+', 0o600);
  try {
    writeSync(file, encode(position), 0, markBytes, 0);
    return file;
  } catch (error) {
    closeSync(file);
    if (error instanceof Error && 'code' in error && error.code === 'ENOSPC') return undefined;
    throw error;
  }
};

const readable = (path: string): boolean => statSync(path, { throwIfNoEntry: false }) !== undefined;
