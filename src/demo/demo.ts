import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, mkdtemp, realpath, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createDisplay, type Display, StepFailed } from './display.ts';
import { Interrupted, listenForSignals } from './interruption.ts';
import { judge } from './judgement.ts';
import { findLeftovers } from './leftovers.ts';
import { type DemoOptions, DemoUsage, readOptions } from './options.ts';
import { complaintsIn, logPath, type RunningProgram } from './program.ts';
import { type ReportParts, reportAsJson, reportAsText } from './report.ts';
import { shutDown } from './shut-down.ts';
import { adminName, type DemoResult, tellStory, vmsFolderOf } from './story.ts';
import { inBytes } from './words.ts';

const gib = 1024 ** 3;
// The files once where they are made, once on the disk, in the node's copy, in the copy to compare with, in the backup.
const roomPerSize = 2;
const roomForStores = 0.5 * gib;
const complaintsShown = 3;

type Session = Readonly<{
  options: DemoOptions;
  folder: string;
  adminPassword: string;
  display: Display;
  stop: AbortController;
  programs: RunningProgram[];
}>;

const makeFolder = async ({ sizeBytes }: DemoOptions): Promise<string> => {
  const { bavail, bsize } = await statfs(tmpdir());
  const neededBytes = roomPerSize * sizeBytes + roomForStores;
  if (bavail * bsize < neededBytes) {
    const free = `${tmpdir()} has ${inBytes(bavail * bsize)} free, the demo needs ${inBytes(neededBytes)}`;
    throw new DemoUsage(`${free}: give a smaller --size, or another folder in TMPDIR`);
  }
  // Resolved: processes are found by the folder they work in, which the kernel tells without links.
  return realpath(await mkdtemp(join(tmpdir(), 'sendense-demo-')));
};

const portsOf = (programs: readonly RunningProgram[], result: DemoResult | undefined): readonly number[] => [
  ...programs.map(({ url }) => Number(new URL(url).port)),
  ...(result ? [...result.full.ports, ...result.incremental.ports] : []),
];

const perform = async ({ folder, options, display, stop, programs, adminPassword }: Session): Promise<DemoResult> => {
  await mkdir(vmsFolderOf(folder), { recursive: true });
  const onStarted = (program: RunningProgram): void => {
    programs.push(program);
    // Whatever waits for an answer of it is given up; after an abort this changes nothing.
    void program.ended.then((how) => stop.abort(new Error(`the ${program.name} ended unexpectedly (${how})`)));
  };
  const login = { username: 'administrator@lab.local', password: randomBytes(12).toString('base64url') };
  const { sizeBytes } = options;
  return tellStory({ folder, sizeBytes, display, stop, adminPassword, login, onStarted });
};

const print = ({ options }: Session, parts: ReportParts): void =>
  void process.stdout.write(options.json ? `${reportAsJson(parts)}\n` : reportAsText(parts));

/** Serves until it is told to stop. */
const serve = async (session: Session, result: DemoResult): Promise<number> => {
  const { folder, stop, programs, adminPassword, display } = session;
  const leftovers = await findLeftovers({ folder, ports: portsOf(programs, result), running: true });
  const problems = judge(result, leftovers);
  const access = { url: result.hubUrl, username: adminName, password: adminPassword, vmFolder: result.vm.folder };
  print(session, { result, leftovers, problems, access });
  if (!stop.signal.aborted) await once(stop.signal, 'abort');
  if (!(stop.signal.reason instanceof Interrupted)) throw stop.signal.reason;
  display.say('Stopping: hub, node and their stores.');
  return problems.length === 0 ? 0 : 1;
};

/** Which step, why, and what hub and node had to say about it. */
const explain = async ({ folder, display, options, programs }: Session, error: unknown): Promise<void> => {
  const message = error instanceof Error ? error.message : String(error);
  const step = error instanceof StepFailed ? error.step : '';
  display.say(step === '' ? `The demo failed: ${message}` : `The demo failed at "${step}": ${message}`);
  for (const { name, hasEnded } of programs) {
    const how = await hasEnded();
    if (how !== undefined) display.say(`  ${name}: ended (${how})`);
    const complaints = await complaintsIn(logPath({ folder, name }), complaintsShown);
    for (const complaint of complaints) display.say(`  ${name}: ${complaint}`);
  }
  if (options.json) process.stdout.write(`${JSON.stringify({ error: { step, message } })}\n`);
};

const failed = async (session: Session, error: unknown): Promise<number> => {
  const { stop, display } = session;
  const { reason } = stop.signal;
  if (!(reason instanceof Interrupted)) {
    await explain(session, error);
    return 1;
  }
  display.say(`Stopping: ${reason.message}.`);
  return reason.exitCode;
};

const run = async (session: Session): Promise<number> => {
  const { options, folder, programs, display } = session;
  let result: DemoResult | undefined;
  let exitCode: number;
  try {
    result = await perform(session);
    exitCode = options.exit ? 0 : await serve(session, result);
  } catch (error) {
    exitCode = await failed(session, error);
  }
  const leftovers = await shutDown({ folder, programs, ports: portsOf(programs, result) });
  if (result && options.exit) {
    const problems = judge(result, leftovers);
    print(session, { result, leftovers, problems });
    return problems.length === 0 ? 0 : 1;
  }
  for (const what of leftovers) display.say(`This did not stop by itself, and was ended: ${what}`);
  return exitCode === 0 && leftovers.length > 0 ? 1 : exitCode;
};

/** Runs the demo; resolves to the exit code when nothing of it is left. */
export const runDemo = async (args: readonly string[]): Promise<number> => {
  const stop = new AbortController();
  const signals = listenForSignals(stop);
  // A reader that went away, a terminal that was closed: no reason to leave processes behind.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  const display = createDisplay(process.stderr, stop.signal);
  try {
    const options = readOptions(args);
    const folder = await makeFolder(options);
    const adminPassword = randomBytes(12).toString('base64url');
    return await run({ options, folder, adminPassword, display, stop, programs: [] });
  } catch (error) {
    if (!(error instanceof DemoUsage)) throw error;
    display.say(error.message);
    return 2;
  } finally {
    display.close();
    signals.close();
  }
};
