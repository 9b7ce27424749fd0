import { readFile } from 'node:fs/promises';

const everyMs = 200;

const childrenOf = async (pid: number): Promise<readonly string[]> =>
  (await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')).split(' ').filter((child) => child !== '');

/** proc(5): rchar counts what read(2) and its like returned. */
const readBy = async (pid: string): Promise<number> =>
  Number(/^rchar: ([0-9]+)/m.exec(await readFile(`/proc/${pid}/io`, 'utf8'))?.[1] ?? 0);

/**
 * Tells how many bytes the children of a program have read so far, as the kernel counts them: for nbdcopy with its
 * nbdkit, what was taken from the disk. nbdcopy's own progress comes in steps of 128 MiB of the disk.
 */
export const meterReads = (pid: number, onBytes: (bytes: number) => void): (() => void) => {
  const look = async () => {
    try {
      const bytes = await Promise.all((await childrenOf(pid)).map(readBy));
      onBytes(bytes.reduce((sum, read) => sum + read, 0));
    } catch {
      // Ended between two looks, or a kernel without these files: the steps remain.
    }
  };
  const timer = setInterval(() => void look(), everyMs);
  return () => clearInterval(timer);
};
