import { readdir, readFile } from 'node:fs/promises';

/** Pids are used again; a pid with its start time (in clock ticks since boot) is one process only. */
export type ProcessIdentity = Readonly<{ pid: number; startTicks: string }>;

const readOrGone = (path: string): Promise<string> => readFile(path, 'utf8').catch(() => '');

/** Undefined when there is no such process, also when it is dead and only waits for its parent (zombie). */
export const identify = async (pid: number): Promise<ProcessIdentity | undefined> => {
  // proc(5): `pid (comm) state …`, comm may hold spaces and brackets; the start time is field 22, state field 3.
  const stat = await readOrGone(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const state = fields[0];
  const startTicks = fields[22 - 3];
  if (startTicks === undefined || state === 'Z' || state === 'X') return undefined;
  return { pid, startTicks };
};

/** Whether that very process still runs. */
export const isAlive = async ({ pid, startTicks }: ProcessIdentity): Promise<boolean> =>
  (await identify(pid))?.startTicks === startTicks;

/** Whether a process was started with exactly this argument. */
export const hasArgument = async (pid: number, argument: string): Promise<boolean> =>
  (await readOrGone(`/proc/${pid}/cmdline`)).split('\0').includes(argument);

/** Looks at every process of the host: a few milliseconds for hundreds of them. */
export const findByArgument = async (argument: string): Promise<ProcessIdentity | undefined> => {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  for (const pid of pids) {
    if (await hasArgument(pid, argument)) return identify(pid);
  }
  return undefined;
};
