import { mkdir, truncate, writeFile } from 'node:fs/promises';
import { execa } from 'execa';

export const makeImage = async (path: string, sizeBytes: number): Promise<void> => {
  await writeFile(path, '');
  await truncate(path, sizeBytes);
  // The log of the filesystem is small, so that little of the disk is it.
  await execa('mkfs.ext4', ['-q', '-F', '-E', 'lazy_itable_init=0,lazy_journal_init=0', '-J', 'size=4', path]);
};

/** A mounted image; disposing of it unmounts. Whatever is open there must be closed before. */
export const mount = async (image: string): Promise<AsyncDisposable & Readonly<{ folder: string }>> => {
  const folder = `${image}.mounted`;
  await mkdir(folder, { recursive: true });
  await execa('mount', ['-o', 'loop', image, folder]);
  return { folder, [Symbol.asyncDispose]: async () => void (await execa('umount', [folder])) };
};
