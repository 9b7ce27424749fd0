import { readdir, readFile, readlink } from 'node:fs/promises';

export type FoundProcess = Readonly<{ pid: number; parentPid: number; state: string; commandLine: string }>;

const read = (path: string): Promise<string> => readFile(path, 'utf8').catch(() => '');

// proc_pid_stat(5): the name stands in brackets and may hold anything; state and parent follow the last of them.
const parseStat = (stat: string): readonly string[] => stat.slice(stat.lastIndexOf(')') + 2).split(' ');

const inspect = async (pid: number): Promise<FoundProcess & { folder: string }> => {
  const [stat, commandLine, folder] = await Promise.all([
    read(`/proc/${pid}/stat`),
    read(`/proc/${pid}/cmdline`),
    readlink(`/proc/${pid}/cwd`).catch(() => ''),
  ]);
  const [state = '', parentPid = '0'] = parseStat(stat);
  return { pid, parentPid: Number(parentPid), state, commandLine: commandLine.replaceAll('\0', ' ').trim(), folder };
};

/** Living processes that name the folder on their command line or work in it. */
export const processesOf = async (folder: string): Promise<readonly FoundProcess[]> => {
  const pids = (await readdir('/proc')).map(Number).filter((pid) => pid > 0 && pid !== process.pid);
  const all = await Promise.all(pids.map(inspect));
  return all.filter(
    (found) =>
      found.state !== '' &&
      found.state !== 'Z' &&
      (found.commandLine.includes(folder) || `${found.folder}/`.startsWith(`${folder}/`)),
  );
};

/** The program's own name, behind whatever started it (`setpriv … -- nbdcopy`), without its path. */
export const isProgram = (name: string) => {
  const pattern = new RegExp(`(^|[ /])${name}( |$)`);
  return ({ commandLine }: FoundProcess): boolean => pattern.test(commandLine.split(' -- [')[0] ?? '');
};

/** Content with a process that has gone. Never 0 or less: those mean whole groups of processes, the tests among them. */
export const signalProcess = (pid: number | null | undefined, signal: NodeJS.Signals): void => {
  if (!pid || pid <= 1) throw new Error(`${pid} is not the id of a process`);
  try {
    process.kill(pid, signal);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
};
