import { open, stat, statfs } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ProgramFailed, type Programs } from '../../programs.ts';

/**
 * Tells whether files were written to, from what the filesystem keeps about them: inode, birth, size, mtime and
 * ctime. A writer can set mtime back, never ctime. Three gaps are closed here:
 * - A write through a memory map sets the times only when it first touches a clean page. `fdatasync` cleans all pages,
 *   so that every later write is seen.
 * - Kernels before 6.13 keep times in ticks of up to 10 ms: a write in the tick of the look is not seen. So the look
 *   must come later than the last write by more than a tick.
 * - A direct write (a hypervisor's, with its cache off) sets the times when it begins and changes the file when it
 *   ends. So a stamp is `firm`, good for later, only when nobody has the file open for writing, or when the last
 *   write began so long ago that the kernel would have given it up.
 * What is relied on: a local filesystem that does this (see `timesCanBeTrusted`) and a clock that is not set back to
 * the very nanosecond of an earlier write.
 */
export type Stamp = string;
export type QuietStamp = Readonly<{ stamp: Stamp; firm: boolean }>;

const tickMs = 25;
// Block devices fail a request after 30 s by default.
const landedAfterMs = 35_000;
const probeTimeoutMs = 10_000;
// statfs(2): ext2/3/4, xfs, btrfs, overlayfs. tmpfs misses writes through memory maps, network filesystems cache times.
const trusted: ReadonlySet<number> = new Set([0xef53, 0x58465342, 0x9123683e, 0x794c7630]);
const noWritersScript = fileURLToPath(new URL('no-writers.pl', import.meta.url));

export const timesCanBeTrusted = async (path: string): Promise<boolean> => trusted.has((await statfs(path)).type);

type Look = Readonly<{ stamp: Stamp; ageMs: number }>;

const look = async (paths: readonly string[]): Promise<Look> => {
  const stats = await Promise.all(paths.map((path) => stat(path, { bigint: true })));
  return {
    stamp: stats.map((s) => [s.ino, s.birthtimeNs, s.size, s.mtimeNs, s.ctimeNs].join(':')).join(' '),
    ageMs: Date.now() - Math.max(...stats.map(({ ctimeMs }) => Number(ctimeMs))),
  };
};

export const stampOf = async (paths: readonly string[]): Promise<Stamp> => (await look(paths)).stamp;

/** Whether every write that began has reached the files. */
export const haveLanded = async (paths: readonly string[]): Promise<boolean> =>
  (await look(paths)).ageMs >= landedAfterMs;

const flush = async (path: string): Promise<void> => {
  const file = await open(path, 'r');
  try {
    await file.datasync();
  } finally {
    await file.close();
  }
};

const nobodyWrites = async (paths: readonly string[], programs: Programs, signal: AbortSignal): Promise<boolean> => {
  try {
    await programs.run(['perl', noWritersScript, ...paths], { timeoutMs: probeTimeoutMs }, signal);
    return true;
  } catch (error) {
    if (error instanceof ProgramFailed) return false; // somebody does, or it cannot be known
    throw error;
  }
};

/** A stamp that any later write changes; undefined when the files are being written to right now. */
export const quietStamp = async (
  paths: readonly string[],
  programs: Programs,
  signal: AbortSignal,
): Promise<QuietStamp | undefined> => {
  const before = await look(paths);
  await Promise.all(paths.map(flush));
  const firm = before.ageMs >= landedAfterMs || (await nobodyWrites(paths, programs, signal));
  if (before.ageMs < tickMs) await delay(tickMs, undefined, { signal });
  return (await stampOf(paths)) === before.stamp ? { stamp: before.stamp, firm } : undefined;
};
