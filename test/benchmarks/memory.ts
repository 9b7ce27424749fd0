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

/** Of all these processes together. */
export const memoryOfAll = async (pids: readonly number[]): Promise<Memory> => {
  const all = await Promise.all(pids.map(memoryOf));
  return { rss: all.reduce((sum, { rss }) => sum + rss, 0), pss: all.reduce((sum, { pss }) => sum + pss, 0) };
};

/** Looks every so often until it has been so long. */
export const watchMemory = async (
  pids: readonly number[],
  { everyMs, durationMs }: Readonly<{ everyMs: number; durationMs: number }>,
  signal: AbortSignal,
): Promise<readonly Memory[]> => {
  const seen: Memory[] = [];
  for (let atMs = 0; atMs < durationMs; atMs += everyMs) {
    await delay(everyMs, undefined, { signal });
    seen.push(await memoryOfAll(pids));
  }
  return seen;
};
