import { mkdir, readdir, readFile, rename, rm, rmdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { errnoOf } from '../durable-file.ts';

const MountRecord = z.object({
  mountId: z.string(),
  slot: z.int().nonnegative(),
  driver: z.enum(['nbd', 'fuse']),
  mountPath: z.string(),
});

/** What the next hub needs to take a mount down that nothing else tells of. */
export type MountRecord = Readonly<z.infer<typeof MountRecord>>;

const recordName = 'mount.json';

const isMountId = (name: string): boolean => /^[0-9a-f-]{36}$/.test(name);

const gone = (error: unknown): undefined => {
  if (errnoOf(error) !== 'ENOENT') throw error;
};

/** Makes the folder; the record is the first thing in it. */
export const writeRecord = async (folder: string, record: MountRecord): Promise<void> => {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const partial = join(folder, `${recordName}.partial`);
  await writeFile(partial, `${JSON.stringify(record)}\n`, { mode: 0o600 });
  await rename(partial, join(folder, recordName));
};

/** Undefined when there is none, or none that can be read. */
export const readRecord = async (folder: string): Promise<MountRecord | undefined> => {
  const text = await readFile(join(folder, recordName), 'utf8').catch(gone);
  if (text === undefined) return undefined;
  try {
    return MountRecord.parse(JSON.parse(text));
  } catch {
    return undefined;
  }
};

/** Removes the folder with the files that belong into it, the record last; fails when it holds anything else. */
export const removeRecord = async (folder: string): Promise<void> => {
  for (const name of ['overlay.qcow2', 'disk', 'server.pid', 'server.log', `${recordName}.partial`, recordName])
    await rm(join(folder, name), { force: true });
  await rmdir(folder).catch(gone);
};

/** Mounts that have a folder here. */
export const recordedMounts = async (runtimeDir: string): Promise<readonly string[]> =>
  ((await readdir(runtimeDir).catch(gone)) ?? []).filter(isMountId);
