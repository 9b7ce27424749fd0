import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { until } from './support.ts';

const program = fileURLToPath(import.meta.resolve('#infra/embedded-event-store/child.ts'));

/** The event store as a program; killed with the test if it still runs. */
export const spawnStore = (t: TestContext, dataDir: string, args: readonly string[] = []) => {
  const subprocess = execa(process.execPath, [program, '--data-dir', dataDir, ...args], {
    stdin: 'pipe',
    reject: false,
    timeout: 60_000,
  });
  t.after(async () => {
    subprocess.kill('SIGKILL');
    await subprocess;
  });
  const { promise: ready, resolve } =
    Promise.withResolvers<Readonly<{ connection: string; port: number; pid: number }>>();
  createInterface({ input: subprocess.stdout }).once('line', (line) => resolve(JSON.parse(line)));
  return { subprocess, ready };
};

/** A process that was killed may be a zombie for a moment, of a parent that is not this one. */
export const isRunning = async (pid: number): Promise<boolean> => {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
  return stat !== '' && !/\) [ZX] /.test(stat);
};

export const untilGone = (pid: number): Promise<void> =>
  until(async () => !(await isRunning(pid)), `the end of process ${pid}`);
