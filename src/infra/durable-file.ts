import { access, type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/** A rename or a new entry survives a power cut only once its folder is flushed as well. */
export const syncDirectory = async (path: string): Promise<void> => {
  await using directory = await open(path, 'r');
  await directory.sync();
};

/** Runs `fill` on `<path>.partial` and gives it its name once it is flushed: `path` appears complete or not at all. */
export const writeComplete = async (path: string, fill: (file: FileHandle) => Promise<void>): Promise<void> => {
  const partialPath = `${path}.partial`;
  try {
    {
      await using file = await open(partialPath, 'w', 0o644);
      await fill(file);
      await file.sync();
    }
    await rename(partialPath, path);
  } catch (error) {
    await rm(partialPath, { force: true });
    throw error;
  }
};

/** The code of a failed system call, `undefined` for any other error. */
export const errnoOf = (error: unknown): string | undefined =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

const makeOne = async (path: string): Promise<void> => {
  try {
    await mkdir(path, { mode: 0o755 });
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST' || !(await stat(path)).isDirectory()) throw error;
  }
};

/**
 * Makes a folder (0755) with those above it; content when it is there. Not `recursive: true`: Node 24 then spins for ever
 * in one of its four file threads where the parent exists and mkdir says ENOENT all the same (`/proc/x`).
 */
export const makeFolder = async (path: string): Promise<void> => {
  try {
    await makeOne(path);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    if (!(await exists(dirname(path)))) await makeFolder(dirname(path));
    // Once more also where the parent is there by now: the other disk of the same VM may just have made it.
    await makeOne(path);
  }
};
