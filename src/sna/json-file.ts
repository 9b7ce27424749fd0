import { open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { z } from 'zod';

const syncFolder = async (path: string): Promise<void> => {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
};

/** Whole or not at all, as far as a crash of this process goes. */
export const writeJson = async (path: string, value: unknown): Promise<void> => {
  const partial = `${path}.partial`;
  await writeFile(partial, `${JSON.stringify(value)}\n`, { mode: 0o600 });
  await rename(partial, path);
};

/** Whole or not at all, and there for good, also after a power cut. */
export const writeJsonDurably = async (path: string, value: unknown): Promise<void> => {
  const partial = `${path}.partial`;
  const file = await open(partial, 'w', 0o600);
  try {
    await file.writeFile(`${JSON.stringify(value)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(partial, path);
  await syncFolder(dirname(path));
};

/** Undefined when there is no such file, or when it is not what the schema describes. */
export const readJson = async <S extends z.ZodType>(path: string, schema: S): Promise<z.infer<S> | undefined> => {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (text === undefined) return undefined;
  try {
    return schema.safeParse(JSON.parse(text)).data;
  } catch {
    return undefined; // cut off or foreign: the caller treats it like a missing one
  }
};

export const removeFile = (path: string): Promise<void> => rm(path, { force: true });
