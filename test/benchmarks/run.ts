// What `./sendense bench` does. Performance is told as ratios to an alternative in the same run, never tested against the clock.
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { removeLeftovers } from '../support/leftovers.ts';
import type { Bench, Benchmark } from './benchmark.ts';
import { catchUpBenchmark } from './catch-up.ts';
import { eventStore } from './event-store.ts';
import { fullBackup } from './full-backup.ts';
import { hub } from './hub.ts';
import { incrementalBackup } from './incremental-backup.ts';
import { mountBenchmark } from './mount.ts';
import { postBackups } from './post-backups.ts';
import { asText, missedIn, type Result } from './report.ts';
import { restoreFiles } from './restore-files.ts';
import { telemetry } from './telemetry.ts';
import { telemetryCrud } from './telemetry-crud.ts';

const all: readonly Benchmark[] = [
  fullBackup,
  incrementalBackup,
  postBackups,
  hub,
  telemetry,
  telemetryCrud,
  catchUpBenchmark,
  eventStore,
  mountBenchmark,
  restoreFiles,
];

const say = (text: string): void => void process.stderr.write(`${text}\n`);

type Wanted = Readonly<{ benchmarks: readonly Benchmark[]; json: boolean; quick: boolean }>;

const readArguments = (args: readonly string[]): Wanted => {
  const options = { json: { type: 'boolean', default: false }, quick: { type: 'boolean', default: false } } as const;
  const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true });
  const names = all.map(({ name }) => name);
  const unknown = positionals.find((name) => !names.includes(name));
  if (unknown) throw new TypeError(`there is no benchmark "${unknown}"; there are: ${names.join(', ')}`);
  const benchmarks = positionals.length === 0 ? all : all.filter(({ name }) => positionals.includes(name));
  return { benchmarks, json: values.json, quick: values.quick };
};

const runOne = async (benchmark: Benchmark, options: Pick<Bench, 'quick' | 'signal'>): Promise<Result> => {
  const { name } = benchmark;
  const folder = await mkdtemp(join(tmpdir(), 'sendense-bench-'));
  try {
    return { name, ...(await benchmark.run({ ...options, folder, say: (text) => say(`${name}: ${text}`) })) };
  } catch (error) {
    say(`${name}: ${error instanceof Error ? error.stack : String(error)}`);
    return { name, error: error instanceof Error ? error.message : String(error) };
  } finally {
    // A hub that is stopped leaves the exports of running jobs alone, for the next hub; here none comes.
    await removeLeftovers({ id: folder, dir: folder });
    await rm(folder, { recursive: true, force: true });
  }
};

const print = (results: readonly Result[], loads: readonly (readonly number[])[], { json, quick }: Wanted): void => {
  const missed = missedIn(results);
  const [before, after] = loads;
  if (json) {
    const machine = { processors: availableParallelism(), load_before: before, load_after: after };
    process.stdout.write(`${JSON.stringify({ quick, machine, benchmarks: results, missed }, undefined, 2)}\n`);
    return;
  }
  const load = loads.map((load) => load.map((value) => value.toFixed(1)).join(' ')).join(', afterwards ');
  process.stdout.write(`${asText(results)}\n${availableParallelism()} processors, load ${load}\n`);
  if (quick) process.stdout.write('a quick run: the figures mean nothing\n');
  for (const name of missed) process.stdout.write(`✖ limit missed by ${name}\n`);
};

/**
 * Runs all benchmarks, or those named. A missed limit is told and is no failure: the machine may have been busy. Returns 1
 * when something broke, 2 for wrong usage.
 */
export const runBenchmarks = async (args: readonly string[]): Promise<number> => {
  let wanted: Wanted;
  try {
    wanted = readArguments(args);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    say(error.message);
    return 2;
  }
  const stopping = new AbortController();
  const stop = (): void => stopping.abort();
  process.once('SIGINT', stop).once('SIGTERM', stop);
  const loads = [loadavg()];
  const results: Result[] = [];
  for (const benchmark of wanted.benchmarks) {
    if (stopping.signal.aborted) break;
    results.push(await runOne(benchmark, { quick: wanted.quick, signal: stopping.signal }));
  }
  print(results, [...loads, loadavg()], wanted);
  process.off('SIGINT', stop).off('SIGTERM', stop);
  return stopping.signal.aborted || results.some((result) => 'error' in result) ? 1 : 0;
};
