import { link, mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/**
 * The node's data folder: `node.json` (where it listens, while it does), `node.pid` (who has the folder), `jobs/`,
 * `mirrors/`, `run/`. Two nodes on one folder would write into each other's mirrors, so the second is refused.
 */
export type DataDir = Readonly<{
  announce(url: string): Promise<void>;
  /** Takes back the announcement and lets the folder go. */
  release(): Promise<void>;
}>;

/** Field 22 of /proc/<pid>/stat: pids are used again, pid and start time together are not. */
const startTimeOf = async (pid: string): Promise<string | undefined> => {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  const fields = text?.slice(text.lastIndexOf(')') + 2).split(' ');
  return fields?.[0] === 'Z' ? undefined : fields?.[19];
};

const claim = async (path: string): Promise<void> => {
  const me = `${process.pid} ${(await startTimeOf(String(process.pid))) ?? ''}`;
  const mine = `${path}.${process.pid}`;
  await writeFile(mine, me, { mode: 0o600 });
  try {
    while (!(await linked(mine, path))) await removeStale(path);
  } finally {
    await rm(mine, { force: true });
  }
};

/** A link appears with its content, unlike a file that is created and then written. */
const linked = async (from: string, to: string): Promise<boolean> => {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
};

const removeStale = async (path: string): Promise<void> => {
  const [pid = '', startTime] = (await readFile(path, 'utf8').catch(() => '')).split(' ');
  if (pid !== '' && startTime !== undefined && (await startTimeOf(pid)) === startTime) {
    throw new Error(`data folder is in use by another node (pid ${pid}): ${path}`);
  }
  await rm(path, { force: true });
};

export const openDataDir = async (path: string): Promise<DataDir> => {
  await mkdir(path, { recursive: true, mode: 0o700 });
  const pidFile = join(path, 'node.pid');
  const announcement = join(path, 'node.json');
  await claim(pidFile);
  await rm(announcement, { force: true });
  return {
    announce: async (url) => {
      await writeFile(`${announcement}.partial`, `${JSON.stringify({ url, pid: process.pid })}\n`);
      await rename(`${announcement}.partial`, announcement);
    },
    release: async () => {
      await rm(announcement, { force: true });
      await rm(pidFile, { force: true });
    },
  };
};
