import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { PermanentFailure } from '#process-managers/ports.ts';
import { runProgram } from '../qemu/program.ts';
import type { Stretch } from './probe.ts';

/** An EFI system partition has 100 MB to 1 GB. */
const largestBytes = 1024 ** 3;
const timeoutMs = 60_000;

/** Where the copies of a mount's FAT filesystems lie. */
export const fatFolder = (folder: string): string => join(folder, 'fat');

/**
 * Copies a FAT filesystem by mtools, for hosts whose kernel has none, and returns the folder. The FUSE filesystem for FAT
 * (fusefat) shows the label as a file, knows no long names, and dies of short files.
 */
export const copyFat = async (
  { volume, diskPath, folder }: Readonly<{ volume: Stretch; diskPath: string; folder: string }>,
  signal: AbortSignal,
): Promise<string> => {
  if (volume.sizeBytes > largestBytes)
    throw new PermanentFailure('the kernel of this host has no vfat, and it is too large to be copied (1 GiB)');
  const copy = join(fatFolder(folder), `${volume.offsetBytes}`);
  await mkdir(copy, { recursive: true, mode: 0o755 });
  const image = `${diskPath}@@${volume.offsetBytes}`;
  const args = ['-s', '-n', '-m', '-Q', '-i', image, '::*', copy];
  await runProgram('mcopy', args, timeoutMs, signal).catch((error: unknown) => {
    // An empty filesystem has nothing that `*` could stand for.
    if (!(error instanceof PermanentFailure && /File ".*" not found|No match/i.test(error.message))) throw error;
  });
  return copy;
};
