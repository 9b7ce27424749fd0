import { readFile } from 'node:fs/promises';
import { release } from 'node:os';

/** `ext4` of a line like `\text4`; lines with `nodev` are no filesystems of disks. */
export const parseFilesystems = (text: string): readonly string[] =>
  text.split('\n').flatMap((line) => /^\s+(\S+)$/.exec(line)?.[1] ?? []);

/** Modules are named after their filesystem, with few exceptions that are no filesystems of disks. */
export const parseModules = (text: string): readonly string[] =>
  text.split('\n').flatMap((line) => /\/fs\/[^:]*\/([^/:]+?)\.ko/.exec(line)?.[1]?.replaceAll('-', '_') ?? []);

const readOrNothing = (path: string): Promise<string> => readFile(path, 'utf8').catch(() => '');

/** Filesystems that the kernel has, or would load when they are mounted. */
export const kernelFilesystems = async (): Promise<ReadonlySet<string>> => {
  const folder = `/lib/modules/${release()}`;
  const [present, modules, builtIn] = await Promise.all([
    readOrNothing('/proc/filesystems'),
    readOrNothing(`${folder}/modules.dep`),
    readOrNothing(`${folder}/modules.builtin`),
  ]);
  const loadable = [...parseModules(modules), ...parseModules(builtIn)];
  // The module of iso9660 is called isofs.
  const isofs = loadable.includes('isofs') ? ['iso9660'] : [];
  return new Set([...parseFilesystems(present), ...loadable, ...isofs]);
};
