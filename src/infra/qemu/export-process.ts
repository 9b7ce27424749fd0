import { spawn } from 'node:child_process';
import { open, readFile } from 'node:fs/promises';
import { PermanentFailure, PortTaken } from '#process-managers/ports.ts';
import { identify, isAlive, type ProcessIdentity } from './process-table.ts';
import { lastWords } from './program.ts';
import { waitFor } from './wait-for.ts';

/** A start that takes longer is stuck; the usual one takes 25 ms. */
export const startTimeoutMs = 5_000;

/** How a child of this very process ended. */
export type Exit = Readonly<{ code: number | null; signal: string | null }>;

export const describeExit = ({ code, signal }: Exit): string =>
  signal === null ? `exit code ${code}` : `signal ${signal}`;

/** A running qemu-nbd. Only the one that started it learns how it ended; for others it is there or gone. */
export interface ExportProcess {
  readonly identity: ProcessIdentity;
  isGone(): Promise<boolean>;
  /** Undefined while it runs, and always when another hub started it. */
  exit(): Exit | undefined;
  /** Settles when a child of this process ended; never for others. */
  readonly ended: Promise<void>;
  /** Content when it is gone already. */
  kill(signal: 'SIGTERM' | 'SIGKILL'): Promise<void>;
}

const sendSignal = (pid: number, signal: 'SIGTERM' | 'SIGKILL'): void => {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
};

/** A qemu-nbd that an earlier hub started. */
export const adopt = (identity: ProcessIdentity): ExportProcess => ({
  identity,
  isGone: async () => !(await isAlive(identity)),
  exit: () => undefined,
  ended: new Promise(() => undefined),
  kill: async (signal) => {
    if (await isAlive(identity)) sendSignal(identity.pid, signal);
  },
});

export type LaunchRequest = Readonly<{
  program: string;
  args: readonly string[];
  pidPath: string;
  logPath: string;
  port: number;
}>;

/** A child of this process; `exit` is filled when it ended. */
type Child = { readonly pid: number; exit: Exit | undefined; readonly ended: Promise<void> };

/**
 * A session of its own and a file for its output: a transfer goes on when the hub is killed, and the next hub can still
 * quote what the program said. Node's own `spawn`, because execa ties a program's output to the caller.
 */
const spawnDetached = async ({ program, args, logPath }: LaunchRequest): Promise<Child> => {
  await using log = await open(logPath, 'w', 0o600);
  const stdio = ['ignore', log.fd, log.fd] as const;
  const spawned = spawn(program, args, { detached: true, cwd: '/', stdio: [...stdio] });
  spawned.unref();
  return await new Promise<Child>((resolve, reject) => {
    spawned.once('error', (error) => reject(new PermanentFailure(`${program} cannot be started`, { cause: error })));
    const ended = Promise.withResolvers<void>();
    const { pid } = spawned;
    if (pid === undefined) return; // the error tells
    const child: Child = { pid, exit: undefined, ended: ended.promise };
    spawned.once('exit', (code, signal) => {
      child.exit = { code, signal };
      ended.resolve();
    });
    resolve(child);
  });
};

const asProcess = (child: Child, identity: ProcessIdentity): ExportProcess => ({
  identity,
  isGone: async () => child.exit !== undefined,
  exit: () => child.exit,
  ended: child.ended,
  kill: async (signal) => {
    if (child.exit === undefined) sendSignal(child.pid, signal);
  },
});

/** The pid file is written last, after the image is open and the port is bound; the port answers before that. */
export const waitUntilListening = (
  request: Readonly<{ pid: number; pidPath: string; timeoutMs: number; isGone: () => boolean | Promise<boolean> }>,
  signal: AbortSignal,
): Promise<boolean> => {
  const isListening = async () => (await readFile(request.pidPath, 'utf8').catch(() => '')).trim() === `${request.pid}`;
  return waitFor(async () => (await request.isGone()) || (await isListening()), request.timeoutMs, signal);
};

/** A program's output so far, on one line. */
export const wordsOf = async (logPath: string): Promise<string> =>
  lastWords(await readFile(logPath, 'utf8').catch(() => ''));

const failureOf = async ({ program, port, logPath }: LaunchRequest, exit: Exit): Promise<Error> => {
  const words = await wordsOf(logPath);
  if (words.includes('Address already in use')) return new PortTaken(port);
  return new PermanentFailure(words === '' ? `${program} ended at once with ${describeExit(exit)}` : words);
};

/**
 * Starts the program and waits until it listens. Throws `PortTaken`, `PermanentFailure` with its own words, or a plain
 * error when time is up; nothing runs then.
 */
export const launch = async (request: LaunchRequest, signal: AbortSignal): Promise<ExportProcess> => {
  const child = await spawnDetached(request);
  try {
    const { pid } = child;
    const isGone = () => child.exit !== undefined;
    const settled = await waitUntilListening(
      { pidPath: request.pidPath, timeoutMs: startTimeoutMs, pid, isGone },
      signal,
    );
    if (child.exit !== undefined) throw await failureOf(request, child.exit);
    if (!settled) throw new Error(`${request.program} did not listen within ${startTimeoutMs / 1000} s`);
    const identity = await identify(pid);
    if (identity === undefined) throw new Error(`${request.program} ended as soon as it listened`);
    return asProcess(child, identity);
  } catch (error) {
    if (child.exit === undefined) sendSignal(child.pid, 'SIGKILL');
    await child.ended;
    throw error;
  }
};
