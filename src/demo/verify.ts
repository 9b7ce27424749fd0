import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { ImageFormat, LabDisk } from './lab-disk.ts';
import { createTools, ToolFailed } from './tools.ts';

/** A disk's content at a moment, to compare with. */
export type Reference = Readonly<{ path: string; format: ImageFormat }>;

export type Verdict = Readonly<{ diskIndex: number; identical: boolean; detail: string }>;

/** Copies the disks while nothing writes to them; where the filesystem can, without copying a byte. */
export const copyDisks = async (
  disks: readonly LabDisk[],
  folder: string,
  signal: AbortSignal,
): Promise<readonly Reference[]> => {
  await mkdir(folder, { recursive: true });
  const run = createTools(signal);
  const copy = async ({ index, path, format }: LabDisk): Promise<Reference> => {
    const to = join(folder, `disk-${index}.${format}`);
    await run(['cp', '--reflink=auto', '--sparse=auto', '--', path, to]);
    return { path: to, format };
  };
  return Promise.all(disks.map(copy));
};

/** Compares the images of a backup with what the disks held, every byte, guest's view of the whole chain. */
export const verifyBackup = async (
  images: readonly string[],
  references: readonly Reference[],
  signal: AbortSignal,
): Promise<readonly Verdict[]> => {
  const run = createTools(signal);
  const compare = async (image: string, diskIndex: number): Promise<Verdict> => {
    const reference = references[diskIndex];
    if (reference === undefined) return { diskIndex, identical: false, detail: 'there is nothing to compare it with' };
    try {
      await run(['qemu-img', 'compare', '-f', 'qcow2', '-F', reference.format, image, reference.path]);
      return { diskIndex, identical: true, detail: '' };
    } catch (error) {
      if (!(error instanceof ToolFailed)) throw error;
      return { diskIndex, identical: false, detail: error.message };
    }
  };
  return Promise.all(images.map(compare));
};
