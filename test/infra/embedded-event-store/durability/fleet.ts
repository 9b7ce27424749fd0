import { createInterface } from 'node:readline';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';

const program = fileURLToPath(import.meta.resolve('./fleet-program.ts'));

export type Fleet = Readonly<{ ports: readonly number[]; kill: () => Promise<void> }>;

/** Rejects with what the process said if it ends before it is ready. */
export const startFleet = async (t: TestContext, dataDirs: readonly string[], compileCache: string): Promise<Fleet> => {
  const subprocess = execa(process.execPath, [program, ...dataDirs], {
    stdin: 'pipe',
    reject: false,
    env: { NODE_COMPILE_CACHE: compileCache },
  });
  const kill = async () => {
    subprocess.kill('SIGKILL');
    await subprocess;
  };
  t.after(kill);
  const { promise: ready, resolve } = Promise.withResolvers<readonly number[]>();
  createInterface({ input: subprocess.stdout }).once('line', (line) => resolve(JSON.parse(line)));
  const ended = subprocess.then(({ stderr }) => Promise.reject(new Error(`The fleet ended: ${stderr}`)));
  const ports = await Promise.race([ready, ended]);
  ended.catch(() => undefined); // from now on it is to be killed
  return { ports, kill };
};
