import { readdir, readFile } from 'node:fs/promises';

export type MountEntry = Readonly<{ mountPoint: string; source: string; filesystem: string }>;
export type LoopDevice = Readonly<{ device: string; backingFile: string }>;

const unescaped = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));

/** proc_pid_mountinfo(5): `… mount-point options [optional fields] - type source super-options`. */
export const parseMountInfo = (text: string): readonly MountEntry[] =>
  text.split('\n').flatMap((line) => {
    const [left = '', right = ''] = line.split(' - ');
    const mountPoint = left.split(' ')[4];
    const [filesystem = '', source = ''] = right.split(' ');
    return mountPoint === undefined
      ? []
      : [{ mountPoint: unescaped(mountPoint), source: unescaped(source), filesystem }];
  });

const isBelow = (path: string, folder: string): boolean => path === folder || path.startsWith(`${folder}/`);

/** A folder of ours has at least two names in its path: nothing may ever be asked, or undone, of the whole host. */
const assertDeep = (folder: string): void => {
  if (!/^\/[^/]+\/[^/]+/.test(folder)) throw new Error(`${JSON.stringify(folder)} is no folder of a mount`);
};

/** Mounts at or below a folder, in the order in which they were made. */
export const mountsBelow = async (folder: string): Promise<readonly MountEntry[]> => {
  assertDeep(folder);
  const all = parseMountInfo(await readFile('/proc/self/mountinfo', 'utf8'));
  return all.filter(({ mountPoint }) => isBelow(mountPoint, folder));
};

/** Loop devices over files below a folder; a file that is gone is still named, with ` (deleted)` behind it. */
export const loopsBelow = async (folder: string): Promise<readonly LoopDevice[]> => {
  assertDeep(folder);
  const names = (await readdir('/sys/block').catch(() => [])).filter((name) => name.startsWith('loop'));
  const loops = names.map(async (name) => {
    const backing = await readFile(`/sys/block/${name}/loop/backing_file`, 'utf8').catch(() => '');
    return { device: `/dev/${name}`, backingFile: backing.trimEnd() };
  });
  return (await Promise.all(loops)).filter(({ backingFile }) => isBelow(backingFile, folder));
};
