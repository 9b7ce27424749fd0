import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';

/** In MiB. Pages that several processes share count in each one's `rss`, and in parts in their `pss`. */
export type Memory = Readonly<{ rss: number; pss: number }>;

const kibPerMib = 1024;

const fieldOf = (text: string, name: string): number => {
  const match = new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text);
  if (!match) throw new Error(`/proc tells no ${name}`);
  return Number(match[1]) / kibPerMib;
};

const memoryOf = async (pid: number): Promise<Memory> => {
  const [status, rollUp] = await Promise.all([
    readFile(`/proc/${pid}/status`, 'utf8'),
    readFile(`/proc/${pid}/smaps_rollup`, 'utf8'),
  ]);
  return { rss: fieldOf(status, 'VmRSS'), pss: fieldOf(rollUp, 'Pss') };
};

/** Of several processes, by their names. */
export type MemoryOf<Name extends string> = Readonly<Record<Name, Memory>>;

export const memoryOfEach = async <Name extends string>(
  pids: Readonly<Record<Name, number>>,
): Promise<MemoryOf<Name>> => {
  const names = Object.keys(pids) as Name[];
  const entries = await Promise.all(names.map(async (name) => [name, await memoryOf(pids[name])] as const));
  return Object.fromEntries(entries) as MemoryOf<Name>;
};

/** Looks every so often until it has been so long. */
export const watchMemory = async <Name extends string>(
  pids: Readonly<Record<Name, number>>,
  { everyMs, durationMs }: Readonly<{ everyMs: number; durationMs: number }>,
  signal: AbortSignal,
): Promise<readonly MemoryOf<Name>[]> => {
  const seen: MemoryOf<Name>[] = [];
  for (let atMs = 0; atMs < durationMs; atMs += everyMs) {
    await delay(everyMs, undefined, { signal });
    seen.push(await memoryOfEach(pids));
  }
  return seen;
};
