import type { BigIntStats } from 'node:fs';
import { type FileHandle, readlink } from 'node:fs/promises';
import { DomainError } from '#domain/errors.ts';
import { below } from './descriptors.ts';
import { Directory } from './directory.ts';
import type { RawName } from './names.ts';
import { fileNotFound, outside, refusalOf } from './refusals.ts';

/** What a path led to, for the caller to close. */
export type Resolved =
  | Readonly<{ kind: 'directory'; directory: Directory; stats: BigIntStats }>
  | Readonly<{ kind: 'file' | 'other'; handle: FileHandle; stats: BigIntStats }>
  | Readonly<{ kind: 'symlink'; target: RawName; stats: BigIntStats }>;

// path_resolution(7): the kernel's own limit.
const maxLinks = 40;
/** More is no path that anybody has: links that name links with long ways in them would multiply. */
const maxSteps = 10_000;

export const readLink = (directory: Directory, name: RawName): Promise<RawName> =>
  readlink(below(directory.handle, name), { encoding: 'latin1' });

export const stepsOf = (path: string): RawName[] => path.split('/').filter((step) => step !== '' && step !== '.');

/**
 * Goes step by step from the root; links are resolved here and not by the kernel. `..`, which only links bring in, goes back to the
 * directory that the walk came from, which is still open: not to what the kernel thinks is above it by now.
 */
class Walk {
  readonly #way: Directory[];
  #links = 0;

  constructor(root: Directory) {
    this.#way = [root];
  }

  get here(): Directory {
    const here = this.#way.at(-1);
    if (!here) throw new Error('a walk was used after its end');
    return here;
  }

  async goBack(): Promise<void> {
    if (this.#way.length === 1) throw outside();
    await this.#way.pop()?.release();
  }

  enter(handle: FileHandle): void {
    this.#way.push(this.here.adopt(handle));
  }

  async stepsOfLink(name: RawName): Promise<readonly RawName[]> {
    this.#links += 1;
    if (this.#links > maxLinks) throw new DomainError('file-not-found', 'These symbolic links lead round in a circle.');
    const target = await readLink(this.here, name);
    if (target.startsWith('/')) throw outside();
    return stepsOf(target);
  }

  async close(): Promise<void> {
    for (const directory of this.#way.splice(0).reverse()) await directory.release();
  }
}

export const resolve = async (
  root: string,
  path: readonly RawName[],
  { followLast }: Readonly<{ followLast: boolean }>,
): Promise<Resolved> => {
  let walk: Walk | undefined;
  try {
    walk = new Walk(await Directory.openRoot(root));
    return await goDown(walk, [...path], followLast);
  } catch (error) {
    throw refusalOf(error);
  } finally {
    await walk?.close();
  }
};

const goDown = async (walk: Walk, steps: RawName[], followLast: boolean): Promise<Resolved> => {
  for (let name = steps.shift(); name !== undefined; name = steps.shift()) {
    if (name === '..') {
      await walk.goBack();
      continue;
    }
    const last = steps.length === 0;
    const { handle, stats } = await walk.here.child(name);
    if (stats.isDirectory()) walk.enter(handle);
    else if (stats.isSymbolicLink()) {
      await handle.close();
      if (last && !followLast) return { kind: 'symlink', target: await readLink(walk.here, name), stats };
      steps.unshift(...(await walk.stepsOfLink(name)));
      if (steps.length > maxSteps) throw fileNotFound();
    } else if (last) return { kind: stats.isFile() ? 'file' : 'other', handle, stats };
    else {
      await handle.close();
      throw fileNotFound();
    }
  }
  const directory = walk.here.hold();
  return { kind: 'directory', directory, stats: await directory.handle.stat({ bigint: true }) };
};
