import { readFile, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { execa } from 'execa';

/** What a person would write in a shell to do the hub's copies, without anything around it. */
export type BareTarget = Readonly<{
  folder: string;
  name: string;
  sizeBytes: number;
  /** The image that the new one is an overlay of. */
  basePath?: string;
}>;

/** Unix sockets are what a script would take; the hub's clients come by TCP, as the node is at the end of a tunnel. */
export type Transport = 'unix' | 'tcp';

export type BareExport = Readonly<{ imagePath: string; uri: string; pid: number; socket?: string }>;

const lookEveryMs = 1;
const stopTimeoutMs = 30_000;

/** Nothing is read from a program that does well: fewer pipes make a quicker script. */
const run = (file: string, args: readonly string[]) =>
  execa(file, args, { stdin: 'ignore', stdout: 'ignore', stderr: 'pipe' });

export const createBareImage = async ({ folder, name, sizeBytes, basePath }: BareTarget): Promise<string> => {
  const imagePath = join(folder, `${name}.qcow2`);
  const layout =
    basePath === undefined
      ? ['-o', 'cluster_size=1M']
      : ['-o', 'cluster_size=512k,extended_l2=on', '-b', basePath, '-F', 'qcow2'];
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', ...layout, imagePath, String(sizeBytes)]);
  return imagePath;
};

const caching = ['--cache=none', '--aio=io_uring', '--discard=unmap', '--detect-zeroes=unmap'];

/** `port`: on TCP; else a socket beside the image. Returns once it listens, with `--fork`. */
export const startBareExport = async (imagePath: string, port?: number): Promise<BareExport> => {
  const exportName = basename(imagePath, '.qcow2');
  const pidPath = `${imagePath}.pid`;
  const socket = `${imagePath}.sock`;
  const address = port === undefined ? ['-k', socket] : ['-b', '127.0.0.1', '-p', String(port)];
  const serving = ['-f', 'qcow2', '-t', '--shared=10', '-x', exportName, `--pid-file=${pidPath}`];
  await run('qemu-nbd', ['--fork', ...serving, ...caching, ...address, imagePath]);
  const pid = Number(await readFile(pidPath, 'utf8'));
  const uri =
    port === undefined ? `nbd+unix:///${exportName}?socket=${socket}` : `nbd://127.0.0.1:${port}/${exportName}`;
  return { imagePath, pid, uri, ...(port === undefined ? { socket } : {}) };
};

/** The forked daemon is nobody's child here: whoever inherits it may let it lie for a while. */
const isGone = async (pid: number): Promise<boolean> => {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined);
  return stat === undefined || stat.slice(stat.lastIndexOf(')') + 2).startsWith('Z');
};

export const stopBareExport = async ({ pid, imagePath, socket }: BareExport): Promise<void> => {
  process.kill(pid, 'SIGTERM');
  const deadline = performance.now() + stopTimeoutMs;
  while (!(await isGone(pid))) {
    if (performance.now() > deadline) throw new Error(`qemu-nbd of ${imagePath} does not end`);
    await delay(lookEveryMs);
  }
  await Promise.all([`${imagePath}.pid`, ...(socket ? [socket] : [])].map((path) => rm(path, { force: true })));
};

const copying = ['--flush', '--destination-is-zero', '--connections=2', '--requests=16'];

/** A file of extents makes it an incremental copy: just these, zeroes in them included. */
export const copyBare = async (sourcePath: string, uri: string, extentFile?: string): Promise<void> => {
  const nbdkit = ['nbdkit', '-r', '--exit-with-parent'];
  const source =
    extentFile === undefined
      ? [...nbdkit, 'file', sourcePath]
      : [...nbdkit, '--filter=extentlist', 'file', sourcePath, `extentlist=${extentFile}`];
  await run('nbdcopy', [...copying, ...(extentFile === undefined ? [] : ['-S', '0']), '--', '[', ...source, ']', uri]);
};
