import { readdir, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { PermanentFailure } from '#process-managers/ports.ts';
import { errnoOf } from '../durable-file.ts';
import { runProgram } from '../qemu/program.ts';
import { mountsBelow } from './mount-table.ts';

const timeoutMs = 10_000;
/** Somebody may be leaving: whoever read through the hub was told to. */
const busy = { attempts: 10, pauseMs: 100 };

const isMounted = async (point: string): Promise<boolean> =>
  (await mountsBelow(point)).some(({ mountPoint }) => mountPoint === point);

/**
 * In order while it can be had; else the folder is freed now and the filesystem with its last user. Its loop device goes with
 * it: once the program under the device has ended, the device does not tell any more which disk it was over.
 */
const umount = async (point: string, signal: AbortSignal): Promise<void> => {
  for (let attempt = 1; attempt <= busy.attempts; attempt += 1) {
    try {
      await runProgram('umount', ['--detach-loop', point], timeoutMs, signal);
      return;
    } catch (error) {
      if (!(error instanceof PermanentFailure)) throw error;
      if (!(await isMounted(point))) return;
      if (!/busy/.test(error.message)) break;
      await delay(busy.pauseMs);
    }
  }
  await runProgram('umount', ['--lazy', '--detach-loop', point], timeoutMs, signal);
};

/** Everything at or below a folder; the last mounted first. */
export const umountBelow = async (folder: string, signal: AbortSignal): Promise<void> => {
  for (const { mountPoint } of (await mountsBelow(folder)).toReversed()) await umount(mountPoint, signal);
};

const removeEmpty = async (path: string): Promise<void> => {
  await rmdir(path).catch((error: unknown) => {
    if (errnoOf(error) !== 'ENOENT') throw error;
  });
};

/** Only empty folders go, never what is in them: a filesystem that is still mounted must not be emptied by mistake. */
export const removeFolders = async (mountPath: string): Promise<void> => {
  const names = await readdir(mountPath).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  });
  for (const name of names) if (/^partition-\d+$/.test(name)) await removeEmpty(join(mountPath, name));
  await removeEmpty(mountPath);
};
