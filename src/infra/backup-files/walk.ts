import type { Stats } from 'node:fs';
import { lstat, readdir } from 'node:fs/promises';
import { below, held } from './descriptors.ts';
import type { Directory } from './directory.ts';
import type { RawName } from './names.ts';
import { codeOf } from './refusals.ts';

export type WalkedEntry = Readonly<{
  name: RawName;
  /** Below the start. */
  path: RawName;
  /** Absent for what cannot be read; `problem` tells why. */
  stats: Stats | undefined;
  problem: string | undefined;
}>;

/** Entries of one directory, next to each other in the order of the walk. */
export type WalkedBatch = Readonly<{
  /** Open while the batch is being looked at; whoever needs it longer holds it. */
  directory: Directory;
  entries: readonly WalkedEntry[];
}>;

type Options = Readonly<{
  recursive: boolean;
  /** The steps of a path: only what comes behind it. */
  after: readonly RawName[];
  signal: AbortSignal;
}>;

/** A directory costs a descriptor while the walk is below it. Nobody's real files lie that deep; a hostile image's may. */
export const maxDepth = 500;
const batchSize = 256;

type Level = {
  readonly directory: Directory;
  readonly prefix: RawName;
  readonly names: readonly RawName[];
  next: number;
  /** Looked at and not handed out yet. */
  ready: WalkedEntry[];
  /** The rest of the path behind which the walk begins; its first name, if it is still there, is the first of `names`. */
  after: readonly RawName[];
};

const lookAt = async ({ directory, prefix }: Level, name: RawName): Promise<WalkedEntry> => {
  const path = `${prefix}${name}`;
  try {
    return { name, path, stats: await lstat(below(directory.handle, name)), problem: undefined };
  } catch (error) {
    return { name, path, stats: undefined, problem: codeOf(error) };
  }
};

/** Takes over the hold on the directory. */
const levelOf = async (directory: Directory, prefix: RawName, after: readonly RawName[]): Promise<Level> => {
  try {
    const names = await readdir(held(directory.handle), { encoding: 'latin1' });
    names.sort((a, b) => (a < b ? -1 : 1));
    const [from] = after;
    const first = from === undefined ? 0 : names.findIndex((name) => name >= from);
    return { directory, prefix, names, next: first < 0 ? names.length : first, ready: [], after };
  } catch (error) {
    await directory.release();
    throw error;
  }
};

/** Up to the next directory that is to be entered, and with it; empty at the end of the level. */
const takeFrom = async (level: Level, recursive: boolean): Promise<readonly WalkedEntry[]> => {
  if (level.ready.length === 0) {
    const names = level.names.slice(level.next, level.next + batchSize);
    level.next += names.length;
    level.ready = await Promise.all(names.map((name) => lookAt(level, name)));
  }
  const stop = recursive ? level.ready.findIndex(({ stats }) => stats?.isDirectory()) : -1;
  return level.ready.splice(0, stop < 0 ? level.ready.length : stop + 1);
};

const descend = async (level: Level, { name, path }: WalkedEntry, after: readonly RawName[]): Promise<Level> =>
  levelOf(await level.directory.enter(name), `${path}/`, after);

/**
 * What is below a directory: by name, each directory before what is in it. Holds the names of the directories on the way and
 * nothing else, however many files there are. Takes over the caller's hold on the start.
 */
export const walk = async function* (start: Directory, options: Options): AsyncGenerator<WalkedBatch> {
  const { recursive, signal } = options;
  const levels = [await levelOf(start, '', options.after)];
  try {
    for (let level = levels.at(-1); level; level = levels.at(-1)) {
      signal.throwIfAborted();
      const { directory } = level;
      const taken = await takeFrom(level, recursive);
      const last = taken.at(-1);
      if (!last) {
        levels.pop();
        await directory.release();
        continue;
      }
      const [seen, ...rest] = level.after;
      level.after = [];
      const wasSeen = taken[0]?.name === seen;
      const shown = wasSeen ? taken.slice(1) : taken;
      if (shown.length > 0) yield { directory, entries: shown };
      if (!recursive || !last.stats?.isDirectory()) continue;
      try {
        if (levels.length >= maxDepth) throw tooDeep();
        levels.push(await descend(level, last, wasSeen && taken.length === 1 ? rest : []));
      } catch (error) {
        yield { directory, entries: [{ ...last, stats: undefined, problem: codeOf(error) }] };
      }
    }
  } finally {
    for (const { directory } of levels) await directory.release();
  }
};

const tooDeep = (): Error => Object.assign(new Error(`below ${maxDepth} folders`), { code: 'ELOOP' });
