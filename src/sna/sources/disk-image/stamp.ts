import { open, stat, statfs } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';

/**
 * Tells whether files were written to, from what the filesystem keeps about them: inode, birth, size, mtime and
 * ctime. A writer can set mtime back, never ctime. Two gaps are closed here:
 * - A write through a memory map sets the times only when it first touches a clean page. `fdatasync` cleans all pages,
 *   so that every later write is seen.
 * - Kernels before 6.13 keep times in ticks of up to 10 ms: a write in the tick of the look is not seen. So the look
 *   must come later than the last write by more than a tick.
 * What is relied on: a local filesystem that does this (see `timesCanBeTrusted`) and a clock that is not set back to
 * the very nanosecond of an earlier write.
 */
export type Stamp = string;

const tickMs = 25;
// statfs(2): ext2/3/4, xfs, btrfs, overlayfs. tmpfs misses writes through memory maps, network filesystems cache times.
const trusted: ReadonlySet<number> = new Set([0xef53, 0x58465342, 0x9123683e, 0x794c7630]);

export const timesCanBeTrusted = async (path: string): Promise<boolean> => trusted.has((await statfs(path)).type);

type Look = Readonly<{ stamp: Stamp; lastChangeMs: number }>;

const look = async (paths: readonly string[]): Promise<Look> => {
  const stats = await Promise.all(paths.map((path) => stat(path, { bigint: true })));
  return {
    stamp: stats.map((s) => [s.ino, s.birthtimeNs, s.size, s.mtimeNs, s.ctimeNs].join(':')).join(' '),
    lastChangeMs: Math.max(...stats.map(({ ctimeMs }) => Number(ctimeMs))),
  };
};

export const stampOf = async (paths: readonly string[]): Promise<Stamp> => (await look(paths)).stamp;

const flush = async (path: string): Promise<void> => {
  const file = await open(path, 'r');
  try {
    await file.datasync();
  } finally {
    await file.close();
  }
};

/** A stamp that any later write changes; undefined when the files are being written to right now. */
export const quietStamp = async (paths: readonly string[], signal: AbortSignal): Promise<Stamp | undefined> => {
  const before = await look(paths);
  await Promise.all(paths.map(flush));
  const ageMs = Date.now() - before.lastChangeMs;
  if (ageMs < tickMs) await delay(tickMs, undefined, { signal });
  return (await stampOf(paths)) === before.stamp ? before.stamp : undefined;
};
