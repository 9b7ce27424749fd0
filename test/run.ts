// What `./sendense test` does: lint and layer rules, types, tests, and a look at what the tests left behind.
import { chmod, glob, mkdtemp, rmdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { stripVTControlCharacters } from 'node:util';
import { execa } from 'execa';
import { findLeftovers, removeLeftovers, runVariable, type TestRun } from './support/leftovers.ts';

const root = resolve(import.meta.dirname, '..');
// The tests wait for programs more than they compute.
const concurrency = 3;
const testTimeoutMs = 600_000;
const summaryLine = /^ℹ (tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) /;

const print = (line: string): void => void process.stdout.write(`${line}\n`);
const bin = (name: string): string => join(root, 'node_modules', '.bin', name);

/** Runs a check and prints what it said only if it failed. */
const check = async (name: string, [file = '', ...args]: readonly string[], signal: AbortSignal): Promise<boolean> => {
  const { failed, all, durationMs } = await execa(file, args, {
    cwd: root,
    all: true,
    reject: false,
    cancelSignal: signal,
  });
  if (failed) print(all);
  print(`${failed ? '✖' : '✔'} ${name} (${Math.round(durationMs)}ms)`);
  return !failed;
};

const staticChecks = async (signal: AbortSignal): Promise<boolean> => {
  const biome = ['ci', '--error-on-warnings', '--colors=off', '.'];
  const results = await Promise.all([
    check('biome: lint, layers and format', [bin('biome'), ...biome], signal),
    check('tsc: types', [bin('tsc'), '--noEmit'], signal),
  ]);
  return !results.includes(false);
};

const testFiles = async (filters: readonly string[]): Promise<readonly string[]> => {
  const found = await Array.fromAsync(glob('test/**/*.test.ts', { cwd: root, exclude: ['test/benchmarks/**'] }));
  return found.filter((path) => filters.length === 0 || filters.some((filter) => path.includes(filter))).sort();
};

/** Prints the output as it comes, but keeps node's summary for the end of all. Returns the exit code. */
const runFiles = async (
  files: readonly string[],
  run: TestRun,
  summary: string[],
  signal: AbortSignal,
): Promise<boolean> => {
  const options = [`--test-concurrency=${concurrency}`, `--test-timeout=${testTimeoutMs}`, '--test-reporter=spec'];
  const child = execa(process.execPath, ['--test', ...options, ...files], {
    cwd: root,
    env: { [runVariable]: run.id, TMPDIR: run.dir, ...(process.stdout.isTTY ? { FORCE_COLOR: '1' } : {}) },
    buffer: false,
    reject: false,
    stdin: 'ignore',
    stderr: 'inherit',
    cancelSignal: signal,
  });
  for await (const line of createInterface({ input: child.stdout })) {
    if (summaryLine.test(stripVTControlCharacters(line))) summary.push(line);
    else print(line);
  }
  return !(await child).failed;
};

const nothingLeft = async (run: TestRun): Promise<boolean> => {
  const left = await findLeftovers(run);
  for (const { what } of left) print(`✖ left behind: ${what}`);
  await removeLeftovers(run);
  await rmdir(run.dir);
  if (left.length === 0) print('✔ nothing is left behind: no process, mount, loop device or file');
  return left.length === 0;
};

const runAll = async (filters: readonly string[], summary: string[], signal: AbortSignal): Promise<boolean> => {
  const files = await testFiles(filters);
  if (files.length === 0) {
    print(`✖ no test file has ${filters.join(' or ')} in its path`);
    return false;
  }
  // With filters somebody works on one thing and wants its tests alone.
  const checked = filters.length > 0 || (await staticChecks(signal));
  const dir = await mkdtemp(join(tmpdir(), 'sdt-')); // short: it goes into paths of sockets
  await chmod(dir, 0o711); // for tests that act as an ordinary user; nobody can guess the names in it
  const run = { id: dir, dir };
  const passed = await runFiles(files, run, summary, signal);
  const clean = await nothingLeft(run);
  return checked && passed && clean;
};

/** Runs everything, or the test files whose path contains one of the arguments. Returns the exit code. */
export const runTests = async (args: readonly string[]): Promise<number> => {
  const startedAtMs = performance.now();
  const stopping = new AbortController();
  const stop = (): void => stopping.abort();
  process.once('SIGINT', stop).once('SIGTERM', stop);
  const summary: string[] = [];
  const passed = await runAll(args, summary, stopping.signal);
  print(`total time: ${((performance.now() - startedAtMs) / 1000).toFixed(1)} s`);
  for (const line of summary) print(line);
  process.off('SIGINT', stop).off('SIGTERM', stop);
  return passed ? 0 : 1;
};
