import { readdir, readFile } from 'node:fs/promises';
import { basename } from 'node:path';

const ours: ReadonlySet<string> = new Set(['nbdkit', 'nbdcopy']);

const argumentsOf = async (pid: string): Promise<readonly string[]> => {
  const text = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
  return text.split('\0');
};

/**
 * Ends what a killed node left behind in its data folder; only for who holds that folder, so whatever names it has no owner.
 * The kernel ends programs with their parent, but an nbdkit whose parent dies in the instant before it has asked the kernel
 * for that (`--exit-with-parent`) is told of nothing and waits for ever. Returns the pids.
 */
export const endOrphans = async (dataDir: string): Promise<readonly number[]> => {
  const ended: number[] = [];
  for (const pid of (await readdir('/proc')).filter((name) => /^\d+$/.test(name))) {
    const [program = '', ...rest] = await argumentsOf(pid);
    if (!ours.has(basename(program)) || !rest.some((argument) => argument.includes(`${dataDir}/`))) continue;
    try {
      process.kill(Number(pid), 'SIGKILL');
      ended.push(Number(pid));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }
  return ended;
};
