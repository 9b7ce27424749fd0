import { open, readFile, rename } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errnoOf, syncDirectory } from '../durable-file.ts';

/** Complete or not at all, for nobody but the hub's user (0600), also after a power cut. */
export const writePrivate = async (path: string, content: string): Promise<void> => {
  const partial = `${path}.partial`;
  {
    await using file = await open(partial, 'w', 0o600);
    await file.chmod(0o600);
    await file.writeFile(content);
    await file.sync();
  }
  await rename(partial, path);
  await syncDirectory(dirname(path));
};

export const readIfThere = (path: string): Promise<string | undefined> =>
  readFile(path, 'utf8').catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
    throw error;
  });
