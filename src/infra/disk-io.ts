import { mkdtemp, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';

/** How qemu talks to the disk, the fastest first. Without O_DIRECT only `threads` is left. */
export type DiskIo = Readonly<{ aio: 'io_uring' | 'native' | 'threads'; direct: boolean }>;

// The size qemu reads at once here; a whole number of blocks of every disk.
const requestBytes = 4096;
const probeTimeoutMs = 10_000;

/** In this order: 1 MiB clusters written with io_uring were 4 % faster than with native, and 90 % faster than with threads. */
const ways: readonly DiskIo[] = [
  { aio: 'io_uring', direct: true },
  { aio: 'native', direct: true },
  { aio: 'threads', direct: true },
];

/**
 * One real read through qemu's own block layer, which is qemu-nbd's too. Versions tell little: io_uring may be built in
 * and be forbidden by a seccomp profile or a sysctl, and O_DIRECT depends on the filesystem.
 */
const reads = async (file: string, { aio }: DiskIo): Promise<boolean> => {
  const request = [`-s${requestBytes}`, '-c1', '-d1'];
  const args = ['bench', '-f', 'raw', '-t', 'none', '-i', aio, ...request, file];
  return !(await execa('qemu-img', args, { reject: false, stdin: 'ignore', timeout: probeTimeoutMs })).failed;
};

/** Finds the fastest way that works for files in this folder. */
export const probeDiskIo = async (dir: string): Promise<DiskIo> => {
  const folder = await mkdtemp(join(dir, '.disk-io-'));
  try {
    const file = join(folder, 'probe');
    await using handle = await open(file, 'w');
    await handle.writeFile(Buffer.alloc(requestBytes));
    for (const way of ways) if (await reads(file, way)) return way;
    return { aio: 'threads', direct: false };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
};
