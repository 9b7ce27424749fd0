import { randomUUID } from 'node:crypto';
import { mkdir, rmdir, stat, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ImageUnreadable, NoSpace } from '#commands/export-disk.ts';
import { measureData } from './image-info.ts';
import { startTied } from './tied-process.ts';
import type { WorkingFolder, WorkingFolders } from './working-folders.ts';

/** A file that holds a whole disk, as long as somebody reads it. */
export type SpooledImage = Readonly<{ path: string; sizeBytes: number; version: string; release: () => void }>;

export type ImageSpool = Readonly<{
  /** One copy serves all who want the same image at the same time. */
  take: (source: Readonly<{ imagePath: string; repositoryPath: string }>, signal: AbortSignal) => Promise<SpooledImage>;
  close: () => Promise<void>;
}>;

type Made = Readonly<{ path: string; sizeBytes: number; version: string }>;

type Entry = {
  users: number;
  readonly made: Promise<Made>;
  readonly cancel: AbortController;
  readonly remove: () => Promise<void>;
  timer: NodeJS.Timeout | undefined;
};

/** Space that others need meanwhile: backups write to the same file system. */
const reserveBytes = 64 * 1024 ** 2;

const assertSpace = async (folder: string, neededBytes: number): Promise<void> => {
  const { bavail, bsize } = await statfs(folder);
  const available = bavail * bsize;
  if (available >= neededBytes + reserveBytes) return;
  throw new NoSpace(
    `a copy of this disk takes ${neededBytes} bytes in ${folder}, where ${available} are free; export it as raw, which needs no space, or make some`,
  );
};

const convert = async (
  imagePath: string,
  target: string,
  folder: WorkingFolder,
  signal: AbortSignal,
): Promise<void> => {
  const args = ['convert', '-f', 'qcow2', '-O', 'qcow2', '-o', 'cluster_size=1M', '-t', 'writeback', imagePath, target];
  const program = startTied('qemu-img', args, folder.path);
  program.stdout.resume();
  const stop = (): void => program.kill();
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  const { ok, words } = await program.ended;
  signal.removeEventListener('abort', stop);
  signal.throwIfAborted();
  if (ok) return;
  if (/no space left/i.test(words)) throw new NoSpace(`no space is left in ${dirname(target)} for a copy of this disk`);
  throw new ImageUnreadable(words);
};

type Options = Readonly<{
  folders: WorkingFolders;
  /** How long a copy stays after its last reader: a download that broke off goes on within it. */
  lingerMs: number;
}>;

/**
 * Flattened copies as qcow2. The format begins with tables that are known at its end only, so it is made in a file: beside
 * the images, below `.sendense` of the repository, where there is room for disks.
 */
export const createImageSpool = ({ folders, lingerMs }: Options): ImageSpool => {
  const entries = new Map<string, Entry>();

  const begin = (source: Readonly<{ imagePath: string; repositoryPath: string }>): Entry => {
    const cancel = new AbortController();
    const spoolFolder = join(source.repositoryPath, '.sendense', 'exports');
    let folder: WorkingFolder | undefined;
    const make = async (): Promise<Made> => {
      const version = randomUUID();
      const path = join(spoolFolder, `${version}.qcow2`);
      await mkdir(spoolFolder, { recursive: true, mode: 0o750 });
      await assertSpace(spoolFolder, await measureData(source.imagePath, cancel.signal));
      folder = await folders.make();
      await folder.owns(path);
      await convert(source.imagePath, path, folder, cancel.signal);
      return { path, sizeBytes: (await stat(path)).size, version };
    };
    const made = make();
    const remove = async (): Promise<void> => {
      cancel.abort(new Error('nobody reads this copy any more'));
      await made.catch(() => undefined);
      await folder?.remove();
      // Others may have copies or records of their own there.
      await rmdir(spoolFolder).catch(() => undefined);
      await rmdir(dirname(spoolFolder)).catch(() => undefined);
    };
    return { users: 0, made, cancel, remove, timer: undefined };
  };

  const drop = async (imagePath: string, entry: Entry): Promise<void> => {
    if (entries.get(imagePath) === entry) entries.delete(imagePath);
    clearTimeout(entry.timer);
    await entry.remove();
  };

  const leave = (imagePath: string, entry: Entry, lingers: boolean): void => {
    entry.users -= 1;
    if (entry.users > 0) return;
    const end = (): void => {
      drop(imagePath, entry).catch(() => undefined); // the next start of the hub removes it
    };
    if (lingers) entry.timer = setTimeout(end, lingerMs).unref();
    else end();
  };

  const take: ImageSpool['take'] = async (source, signal) => {
    const { imagePath } = source;
    const entry = entries.get(imagePath) ?? begin(source);
    entries.set(imagePath, entry);
    clearTimeout(entry.timer);
    entry.users += 1;
    const gone = Promise.withResolvers<never>();
    const onAbort = (): void => gone.reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      signal.throwIfAborted();
      const made = await Promise.race([entry.made, gone.promise]);
      let released = false;
      const release = (): void => {
        if (!released) leave(imagePath, entry, true);
        released = true;
      };
      return { ...made, release };
    } catch (error) {
      leave(imagePath, entry, false);
      throw error;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  };

  return {
    take,
    close: async () => {
      await Promise.allSettled([...entries].map(([imagePath, entry]) => drop(imagePath, entry)));
    },
  };
};
