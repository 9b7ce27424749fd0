import { randomUUID } from 'node:crypto';
import { mkdir, readdir, readlink, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

/** A folder that a few programs work in; it and they are gone together. */
export type WorkingFolder = Readonly<{
  path: string;
  /** Notes a file elsewhere, before it is made, so that it goes with the folder also after a crash. */
  owns: (path: string) => Promise<void>;
  remove: () => Promise<void>;
}>;

export type WorkingFolders = Readonly<{
  make: () => Promise<WorkingFolder>;
  /** What a hub that was killed has left: its programs, folders and files. For the start, before any folder is made. */
  clear: () => Promise<void>;
}>;

const ownedPrefix = 'owns-';
const killPatienceMs = 10_000;

const namesIn = (folder: string): Promise<readonly string[]> => readdir(folder).catch(() => []);

/** The kernel ends them with their hub; one that was only just being started may have missed it. */
const processesIn = async (root: string): Promise<readonly number[]> => {
  const pids = (await namesIn('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const found = await Promise.all(
    pids.map(async (pid) => ((await readlink(`/proc/${pid}/cwd`).catch(() => '')).startsWith(`${root}/`) ? [pid] : [])),
  );
  return found.flat().filter((pid) => pid !== process.pid);
};

const endProcesses = async (root: string): Promise<void> => {
  const deadline = performance.now() + killPatienceMs;
  for (let left = await processesIn(root); left.length > 0; left = await processesIn(root)) {
    for (const pid of left) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // it ended meanwhile
      }
    }
    if (performance.now() > deadline) throw new Error(`processes ${left.join(', ')} in ${root} do not end`);
    await delay(20);
  }
};

const removeFolder = async (path: string): Promise<void> => {
  for (const name of await namesIn(path)) {
    if (!name.startsWith(ownedPrefix)) continue;
    const owned = await readlink(join(path, name)).catch(() => undefined);
    if (owned !== undefined) await rm(owned, { force: true });
  }
  await rm(path, { recursive: true, force: true });
};

/** `root` is private to the hub, on any file system. */
export const createWorkingFolders = (root: string): WorkingFolders => ({
  make: async () => {
    const path = join(root, randomUUID());
    await mkdir(path, { recursive: true, mode: 0o700 });
    return {
      path,
      owns: (owned) => symlink(owned, join(path, `${ownedPrefix}${randomUUID()}`)),
      remove: () => removeFolder(path),
    };
  },
  clear: async () => {
    await endProcesses(root);
    for (const name of await namesIn(root)) await removeFolder(join(root, name));
  },
});
