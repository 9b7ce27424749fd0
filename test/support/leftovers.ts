import { readdir, readFile, readlink, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { execa } from 'execa';

/** The variable that marks every process of one test run. */
export const runVariable = 'SENDENSE_TEST_RUN';

/** Something that outlived the run, with a way to get rid of it. */
export type Leftover = Readonly<{ what: string; remove(): Promise<unknown> }>;

/** What belongs to the run: processes that inherited its variable or name its folder, and what lies in the folder. */
export type TestRun = Readonly<{ id: string; dir: string }>;

/** A process that ends on its own is no leftover: the kernel may still be at it. */
const graceMs = 3_000;
const pollMs = 50;

const read = (path: string): Promise<string> => readFile(path, 'utf8').catch(() => '');

const kill = async (pid: number): Promise<void> => {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // it ended meanwhile
  }
};

/** The variable alone does not do: PostgreSQL gets an environment of its own. The command line alone neither. */
const isOfRun = async (pid: number, run: TestRun): Promise<boolean> => {
  const [environment, commandLine, folder] = await Promise.all([
    read(`/proc/${pid}/environ`),
    read(`/proc/${pid}/cmdline`),
    readlink(`/proc/${pid}/cwd`).catch(() => ''),
  ]);
  const marked = environment.split('\0').includes(`${runVariable}=${run.id}`);
  return marked || commandLine.includes(run.dir) || `${folder}/`.startsWith(`${run.dir}/`);
};

const processes = async (run: TestRun): Promise<readonly Leftover[]> => {
  const pids = (await readdir('/proc')).map(Number).filter((pid) => pid > 0 && pid !== process.pid);
  const found = await Promise.all(
    pids.map(async (pid) => {
      if (!(await isOfRun(pid, run))) return [];
      const commandLine = (await read(`/proc/${pid}/cmdline`)).replaceAll('\0', ' ').trim();
      return [{ what: `process ${pid}: ${commandLine.slice(0, 300)}`, remove: () => kill(pid) }];
    }),
  );
  return found.flat();
};

// proc_pid_mountinfo(5): the fifth field is the mount point, with octal escapes.
const mounts = async ({ dir }: TestRun): Promise<readonly Leftover[]> =>
  (await read('/proc/self/mountinfo'))
    .split('\n')
    .map((line) =>
      (line.split(' ')[4] ?? '').replace(/\\([0-7]{3})/g, (_, code) => String.fromCharCode(Number.parseInt(code, 8))),
    )
    .filter((point) => `${point}/`.startsWith(`${dir}/`))
    .reverse() // the last mounted is the first to go
    .map((point) => ({ what: `mount ${point}`, remove: () => execa('umount', ['--lazy', point], { reject: false }) }));

const loopDevices = async ({ dir }: TestRun): Promise<readonly Leftover[]> => {
  const names = (await readdir('/sys/block').catch(() => [])).filter((name) => name.startsWith('loop'));
  const found = await Promise.all(
    names.map(async (name) => {
      const file = (await read(`/sys/block/${name}/loop/backing_file`)).trim();
      if (!file.startsWith(`${dir}/`)) return [];
      const remove = () => execa('losetup', ['--detach', `/dev/${name}`], { reject: false });
      return [{ what: `loop device ${name} on ${file}`, remove }];
    }),
  );
  return found.flat();
};

const files = async ({ dir }: TestRun): Promise<readonly Leftover[]> =>
  (await readdir(dir).catch(() => [])).map((name) => {
    const path = join(dir, name);
    return { what: `file or folder ${path}`, remove: () => rm(path, { recursive: true, force: true }) };
  });

const look = async (run: TestRun): Promise<readonly Leftover[]> => [
  ...(await processes(run)),
  ...(await mounts(run)),
  ...(await loopDevices(run)),
  ...(await files(run)),
];

/** What is left of a run after a short time of grace, in the order in which it can be removed. */
export const findLeftovers = async (run: TestRun): Promise<readonly Leftover[]> => {
  const deadline = Date.now() + graceMs;
  for (;;) {
    const found = await look(run);
    if (found.length === 0 || Date.now() > deadline) return found;
    await delay(pollMs);
  }
};

/** Removes them, but no file while something is mounted: it might be one of the mounted filesystem. */
export const removeLeftovers = async (run: TestRun): Promise<void> => {
  for (const kind of [processes, mounts, loopDevices]) for (const leftover of await kind(run)) await leftover.remove();
  if ((await mounts(run)).length > 0) return;
  for (const leftover of await files(run)) await leftover.remove();
};
