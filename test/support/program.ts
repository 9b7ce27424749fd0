import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { execa } from 'execa';
import { eventually } from './eventually.ts';
import { signalProcess } from './processes.ts';

const cli = resolve(import.meta.dirname, '../../src/cli.ts');
// A first start makes a database cluster, and others use the machine too.
const readyTimeoutMs = 60_000;
const stopTimeoutMs = 30_000;

export type Ended = Readonly<{ exitCode: number | undefined; signal: string | undefined }>;

/** A running `sendense hub` or `sendense node`. */
export type Program = Readonly<{
  pid: number;
  url: string;
  readyAfterMs: number;
  log: () => Promise<string>;
  signal: (signal: NodeJS.Signals) => void;
  /** SIGTERM; fails when the program does not end or has to be killed. */
  stop: () => Promise<Ended>;
  /** SIGKILL: neither the program nor what hangs on it gets to clean up. */
  kill: () => Promise<void>;
}>;

/** A system user. */
export type SystemUser = Readonly<{ uid: number; gid: number }>;

export type ProgramOptions = Readonly<{
  args: readonly string[];
  env: Readonly<Record<string, string>>;
  /** Also marks everything that the program starts: children inherit it. */
  folder: string;
  dataDir: string;
  addressFile: string;
  logFile: string;
  /** As whom it runs, if not as whoever runs the tests. */
  user?: SystemUser | undefined;
}>;

/** The settings of whoever runs the tests are not the tests'. */
export const ownEnvironment = (): Readonly<Record<string, string>> =>
  Object.fromEntries(
    Object.entries(process.env).flatMap(([name, value]) =>
      value === undefined || (name.startsWith('SENDENSE_') && name !== 'SENDENSE_TEST_RUN') ? [] : [[name, value]],
    ),
  );

const spawn = ({ args, env, folder, logFile, user }: ProgramOptions) =>
  execa(process.execPath, [cli, ...args], {
    cwd: folder,
    env: { ...ownEnvironment(), ...env },
    extendEnv: false,
    stdin: 'ignore',
    stdout: 'ignore',
    stderr: { file: logFile, append: true },
    reject: false,
    ...user,
  });

/** Runs a command of the command line to its end. */
export const runCli = (args: readonly string[], env: Readonly<Record<string, string>>, folder: string) =>
  execa(process.execPath, [cli, ...args], {
    cwd: folder,
    env: { ...ownEnvironment(), ...env },
    extendEnv: false,
    stdin: 'ignore',
    reject: false,
    timeout: readyTimeoutMs,
  });

export const startProgram = async (options: ProgramOptions): Promise<Program> => {
  const startedAtMs = performance.now();
  const log = () => readFile(options.logFile, 'utf8');
  const subprocess = spawn(options);
  const { pid = 0 } = subprocess;
  let ended: Ended | undefined;
  const over = subprocess.then(({ exitCode, signal }) => {
    ended = { exitCode, signal };
    return ended;
  });
  const ready = async (): Promise<string | undefined> => {
    if (ended) return '';
    const text = await readFile(join(options.dataDir, options.addressFile), 'utf8').catch(() => '{}');
    const address = JSON.parse(text) as { url?: string; pid?: number };
    return address.pid === pid ? address.url : undefined;
  };
  const url = await eventually(`${options.args[0]} is ready`, ready, readyTimeoutMs).catch(async (error: unknown) => {
    subprocess.kill('SIGKILL');
    throw new Error(`${(error as Error).message}\n${(await log()).slice(-4000)}`, { cause: error });
  });
  if (url === '') throw new Error(`${options.args[0]} ended before it was ready:\n${(await log()).slice(-4000)}`);
  return {
    pid,
    url,
    readyAfterMs: performance.now() - startedAtMs,
    log,
    signal: (signal) => signalProcess(pid, signal),
    stop: async () => {
      subprocess.kill('SIGTERM');
      return eventually(`${options.args[0]} stops`, () => ended, stopTimeoutMs).catch(async (error: unknown) => {
        subprocess.kill('SIGKILL');
        throw new Error(`${(error as Error).message}\n${(await log()).slice(-4000)}`, { cause: error });
      });
    },
    kill: async () => {
      subprocess.kill('SIGKILL');
      await over;
    },
  };
};
