import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

/** What is ours: everything that names the demo's folder, or works in it. */
export type Footprint = Readonly<{
  folder: string;
  /** Ports that the demo's programs had. */
  ports: readonly number[];
  /** While hub and node serve on, only what moves disks' bytes counts as left over. */
  running: boolean;
}>;

export type FoundProcess = Readonly<{ pid: number; text: string }>;

/** What ends on its own is no leftover: the kernel may still be at it. */
const graceMs = 3_000;
const pollMs = 50;

const transferPrograms = /^(qemu-nbd|qemu-img|qemu-io|nbdkit|nbdcopy|nbdfuse|qemu-storage-da|ntfs-3g|fuse2fs)\b/;

const read = (path: string): Promise<string> => readFile(path, 'utf8').catch(() => '');
const list = (path: string): Promise<readonly string[]> => readdir(path).catch(() => []);
const isInside = (path: string, folder: string): boolean => `${path}/`.startsWith(`${folder}/`);

/** Processes that name the folder on their command line or work in it: PostgreSQL's carry nothing else of ours. */
export const findProcesses = async ({
  folder,
  running,
}: Omit<Footprint, 'ports'>): Promise<readonly FoundProcess[]> => {
  const pids = (await list('/proc')).map(Number).filter((pid) => pid > 0 && pid !== process.pid);
  const found = await Promise.all(
    pids.map(async (pid) => {
      const [commandLine, place, name] = await Promise.all([
        read(`/proc/${pid}/cmdline`),
        readlink(`/proc/${pid}/cwd`).catch(() => ''),
        read(`/proc/${pid}/comm`),
      ]);
      const isOurs = commandLine.includes(folder) || isInside(place, folder);
      if (!isOurs || (running && !transferPrograms.test(name))) return [];
      const command = commandLine.replaceAll('\0', ' ').trim() || name.trim();
      return [{ pid, text: `process ${pid}: ${command.slice(0, 200)}` }];
    }),
  );
  return found.flat();
};

const socketsOf = async (pid: number): Promise<readonly string[]> => {
  const descriptors = await list(`/proc/${pid}/fd`);
  return Promise.all(descriptors.map((name) => readlink(`/proc/${pid}/fd/${name}`).catch(() => '')));
};

/** Listening TCP sockets, proc_pid_net(5): local address, state and inode are the second, fourth and tenth field. */
const listeningSockets = async (): Promise<ReadonlyMap<string, number>> => {
  const listening = '0A';
  const lines = (await Promise.all(['/proc/net/tcp', '/proc/net/tcp6'].map(read))).join('\n').split('\n');
  const fields = lines.map((line) => line.trim().split(/\s+/)).filter((field) => field[3] === listening);
  return new Map(
    fields.map((field) => [`socket:[${field[9]}]`, Number.parseInt(field[1]?.split(':')[1] ?? '', 16)] as const),
  );
};

/** Somebody else may have a port by now: it counts only while a process of ours has it. */
const findPorts = async ({ ports }: Footprint, processes: readonly FoundProcess[]): Promise<readonly string[]> => {
  const sockets = await listeningSockets();
  const found = await Promise.all(
    processes.map(async ({ pid }) => (await socketsOf(pid)).flatMap((socket) => sockets.get(socket) ?? [])),
  );
  return found
    .flat()
    .filter((port) => ports.includes(port))
    .map((port) => `port ${port}`);
};

// proc_pid_mountinfo(5): the fifth field is the mount point, with octal escapes.
export const mountPointsIn = async (folder: string): Promise<readonly string[]> =>
  (await read('/proc/self/mountinfo'))
    .split('\n')
    .map((line) =>
      (line.split(' ')[4] ?? '').replace(/\\([0-7]{3})/g, (_, code) => String.fromCharCode(Number.parseInt(code, 8))),
    )
    .filter((point) => isInside(point, folder));

const findMounts = async ({ folder }: Footprint): Promise<readonly string[]> =>
  (await mountPointsIn(folder)).map((point) => `mount ${point}`);

export type LoopDevice = Readonly<{ device: string; backingFile: string }>;

/** Over files in the folder. A device does not tell its file any more once the program that served the file has ended. */
export const loopDevicesIn = async (folder: string): Promise<readonly LoopDevice[]> => {
  const names = (await list('/sys/block')).filter((name) => name.startsWith('loop'));
  const devices = names.map(async (name) => ({
    device: `/dev/${name}`,
    backingFile: (await read(`/sys/block/${name}/loop/backing_file`)).trim(),
  }));
  return (await Promise.all(devices)).filter(({ backingFile }) => isInside(backingFile, folder));
};

const findLoopDevices = async ({ folder }: Footprint): Promise<readonly string[]> =>
  (await loopDevicesIn(folder)).map(({ device, backingFile }) => `loop device ${device} on ${backingFile}`);

const findPartialFiles = async ({ folder }: Footprint): Promise<readonly string[]> => {
  const names = await readdir(folder, { recursive: true }).catch(() => []);
  return names.filter((name) => name.endsWith('.partial')).map((name) => `file ${join(folder, name)}`);
};

const look = async (footprint: Footprint): Promise<readonly string[]> => {
  const processes = await findProcesses(footprint);
  const others = [findPorts(footprint, processes), findMounts(footprint), findLoopDevices(footprint)];
  const found = await Promise.all([...others, findPartialFiles(footprint)]);
  return [...processes.map(({ text }) => text), ...found.flat()];
};

/** What is left after a short time of grace. */
export const findLeftovers = async (footprint: Footprint): Promise<readonly string[]> => {
  const deadline = performance.now() + graceMs;
  for (;;) {
    const found = await look(footprint);
    if (found.length === 0 || performance.now() > deadline) return found;
    await delay(pollMs);
  }
};
