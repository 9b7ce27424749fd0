import { readFile } from 'node:fs/promises';

const everyMs = 200;

/** proc(5): rchar counts what read(2) and its like returned. */
const readBy = async (pid: number): Promise<number> =>
  Number(/^rchar: ([0-9]+)/m.exec(await readFile(`/proc/${pid}/io`, 'utf8'))?.[1] ?? 0);

/**
 * Tells how many bytes a program has read so far, as the kernel counts them: for nbdkit, what was taken from the disk and
 * the requests for it. nbdcopy's own progress comes in steps of 128 MiB of the disk.
 */
export const meterReads = (pid: number, onBytes: (bytes: number) => void): (() => void) => {
  const look = async () => {
    try {
      onBytes(await readBy(pid));
    } catch {
      // Ended between two looks, or a kernel without these files: the steps remain.
    }
  };
  const timer = setInterval(() => void look(), everyMs);
  return () => clearInterval(timer);
};
