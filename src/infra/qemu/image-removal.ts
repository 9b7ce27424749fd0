import { readdir, rm, rmdir } from 'node:fs/promises';
import { dirname, isAbsolute, join, relative } from 'node:path';
import { PermanentFailure } from '#process-managers/ports.ts';
import { errnoOf, syncDirectory } from '../durable-file.ts';

/** `chain.json` describes the images of its folder; with the last of them gone it describes nothing. */
const chainDescriptions: ReadonlySet<string> = new Set(['chain.json', 'chain.json.partial']);

const isBelow = (path: string, rootPath: string): boolean => {
  const way = relative(rootPath, path);
  return way !== '' && way !== '..' && !way.startsWith('../') && !isAbsolute(way);
};

/** Removed before a crash, or never made because a file stands where a folder should be. */
const isNotThere = (error: unknown): boolean => ['ENOENT', 'ENOTDIR'].includes(errnoOf(error) ?? '');

const namesIn = async (folder: string): Promise<readonly string[] | undefined> => {
  try {
    return await readdir(folder);
  } catch (error) {
    if (isNotThere(error)) return undefined;
    throw error;
  }
};

const removeFile = async (path: string): Promise<void> => {
  try {
    await rm(path);
  } catch (error) {
    if (!isNotThere(error)) throw error;
  }
};

/** Somebody may put a file into the folder at this moment: then it stays. */
const removeFolder = async (folder: string): Promise<boolean> => {
  try {
    await rmdir(folder);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOTEMPTY') return false;
    throw error;
  }
};

/** Removes an image with its side file and what crashes left of both, then the folders this left empty below `rootPath`. */
export const removeImage = async (imagePath: string, rootPath: string): Promise<void> => {
  if (!isBelow(imagePath, rootPath)) throw new PermanentFailure(`${imagePath} is not inside ${rootPath}`);
  for (const suffix of ['', '.partial', '.json', '.json.partial']) await removeFile(`${imagePath}${suffix}`);
  for (let folder = dirname(imagePath); isBelow(folder, rootPath); folder = dirname(folder)) {
    const names = await namesIn(folder);
    if (names === undefined) continue;
    if (!names.every((name) => chainDescriptions.has(name))) return syncDirectory(folder);
    for (const name of names) await removeFile(join(folder, name));
    if (!(await removeFolder(folder))) return syncDirectory(folder);
  }
  // A root that is away (not mounted) has nothing to flush.
  if ((await namesIn(rootPath)) !== undefined) await syncDirectory(rootPath);
};
