import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';

/** What differs between an image and a disk in content; empty when nothing does. */
export const compare = async (image: string, source: string): Promise<string> => {
  const format = source.endsWith('.qcow2') ? 'qcow2' : 'raw';
  const args = ['compare', '-f', 'qcow2', '-F', format, image, source];
  const { stdout, stderr, exitCode } = await execa('qemu-img', args, { reject: false });
  return exitCode === 0 ? '' : `${image} is not ${source}: ${stdout} ${stderr}`;
};

/** But for what the hub keeps in a repository for itself: anchors of the audit trail. */
export const filesBelow = async (folder: string): Promise<readonly string[]> =>
  (await readdir(folder, { recursive: true, withFileTypes: true }))
    .filter((entry) => !entry.isDirectory() && !entry.parentPath.split('/').includes('.sendense'))
    .map((entry) => join(entry.parentPath, entry.name));

/** What a set of images has beside it: a side file each, and a chain file in every folder. */
export const withSideFiles = (images: readonly string[]): readonly string[] => [
  ...images,
  ...images.map((path) => `${path}.json`),
  ...new Set(images.map((path) => join(path, '..', 'chain.json'))),
];
