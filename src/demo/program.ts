import { readFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { execa } from 'execa';
import { z } from 'zod';

/** A hub or a node, as a process of its own. */
export type RunningProgram = Readonly<{
  name: string;
  url: string;
  pid: number;
  /** Resolves, with how, when it ends, asked or not. */
  ended: Promise<string>;
  /** How it ended, if it has. */
  hasEnded: () => Promise<string | undefined>;
  /** SIGTERM, and SIGKILL for one that does not listen. Resolves with how it ended; may be repeated. */
  stop: () => Promise<string>;
}>;

export type ProgramSpec = Readonly<{
  name: string;
  args: readonly string[];
  /** Its working directory, where its log goes. */
  folder: string;
  /** Where it says that it is ready. */
  readyFile: string;
  settings?: Readonly<Record<string, string>>;
}>;

/** It ended before it was ready; the log's last complaint. */
export class StartFailed extends Error {
  constructor(name: string, reason: string) {
    super(`the ${name} did not start: ${reason}`);
    this.name = 'StartFailed';
  }
}

const cli = resolve(import.meta.dirname, '../cli.ts');
const startTimeoutMs = 60_000;
const killAfterMs = 15_000;
const lookEveryMs = 20;
// The end of a process is noticed a little after its sockets'.
const noticeMs = 100;

/** Settings of the person's own hub must not reach the demo's: it would write into somebody's store. */
const environment = (settings: Readonly<Record<string, string>>): Readonly<Record<string, string | undefined>> => ({
  ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('SENDENSE_'))),
  ...settings,
});

const Ready = z.object({ url: z.string(), pid: z.number() });

const readReady = async (path: string, pid: number): Promise<string | undefined> => {
  const text = await readFile(path, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const ready = Ready.parse(JSON.parse(text));
  return ready.pid === pid ? ready.url : undefined;
};

const LogLine = z.object({ level: z.number(), msg: z.string(), err: z.object({ message: z.string() }).optional() });
const warningLevel = 40;

const complaintIn = (line: string): string | undefined => {
  try {
    const { level, msg, err } = LogLine.parse(JSON.parse(line));
    return level < warningLevel ? undefined : err ? `${msg}: ${err.message}` : msg;
  } catch {
    return line.trim() === '' || /^\s+at /.test(line) ? undefined : line; // a last word outside the log
  }
};

export const logPath = ({ folder, name }: Pick<ProgramSpec, 'folder' | 'name'>): string => join(folder, `${name}.log`);

/** What a program had to complain about, the newest last. */
export const complaintsIn = async (path: string, most: number): Promise<readonly string[]> => {
  const text = await readFile(path, 'utf8').catch(() => '');
  return text
    .split('\n')
    .flatMap((line) => complaintIn(line) ?? [])
    .slice(-most);
};

const launch = (spec: ProgramSpec) => {
  const { args, folder, settings = {} } = spec;
  const child = execa(process.execPath, [cli, ...args], {
    cwd: folder,
    env: environment(settings),
    extendEnv: false,
    // A session of its own: Ctrl-C comes to the demo alone, which stops things in order.
    detached: true,
    stdin: 'ignore',
    stdout: 'ignore',
    stderr: { file: logPath(spec) },
    buffer: false,
    reject: false,
    forceKillAfterDelay: killAfterMs,
  });
  const ended = child.then(({ exitCode, signal }) => signal ?? `exit code ${exitCode}`);
  const stop = (): Promise<string> => {
    child.kill('SIGTERM');
    return ended;
  };
  const hasEnded = () => Promise.race([ended, delay(noticeMs, undefined)]);
  return { child, ended, hasEnded, stop };
};

const untilReady = async (spec: ProgramSpec, pid: number, signal: AbortSignal): Promise<string> => {
  for (;;) {
    const url = await readReady(join(spec.folder, spec.readyFile), pid);
    if (url !== undefined) return url;
    await delay(lookEveryMs, undefined, { signal });
  }
};

const reasonFor = async (spec: ProgramSpec, how: string): Promise<string> =>
  (await complaintsIn(logPath(spec), 1)).at(0) ?? how;

/** Starts a program and waits until it is ready. When this throws, nothing of it runs. */
export const startProgram = async (spec: ProgramSpec, signal: AbortSignal): Promise<RunningProgram> => {
  signal.throwIfAborted();
  const { child, ended, hasEnded, stop } = launch(spec);
  const givenUp = new AbortController();
  const waiting = AbortSignal.any([signal, givenUp.signal, AbortSignal.timeout(startTimeoutMs)]);
  const diedEarly = ended.then(async (how) => {
    givenUp.abort();
    throw new StartFailed(spec.name, await reasonFor(spec, how));
  });
  try {
    const { pid } = child;
    if (pid === undefined) return await diedEarly;
    const url = await Promise.race([untilReady(spec, pid, waiting), diedEarly]);
    diedEarly.catch(() => undefined); // from now on `ended` tells
    return { name: spec.name, url, pid, ended, hasEnded, stop };
  } catch (error) {
    await stop();
    signal.throwIfAborted();
    throw givenUp.signal.aborted ? await diedEarly : error;
  }
};
