import { chmod, link, lstat, open, rename, rm, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { KnownDiskRestore } from '#domain/disk-restore/disk-restore.ts';
import { parseNbdUri } from '#domain/disk-restore/nbd-uri.ts';
import { type DiskCopier, type OnProgress, RestoreFailure } from '#process-managers/disk-restores/ports.ts';
import { PermanentFailure } from '#process-managers/ports.ts';
import { errnoOf, syncDirectory } from '../durable-file.ts';
import type { PlaceResolver } from '../restore-targets.ts';
import { rethrowAsFinal } from './final-errors.ts';
import { inspectChain, measureData } from './image-info.ts';
import { quoted } from './image-stream.ts';
import { startTied } from './tied-process.ts';
import type { WorkingFolders } from './working-folders.ts';

type Deps = Readonly<{ folders: WorkingFolders; targets: PlaceResolver }>;

/** Space that others need meanwhile. */
const reserveBytes = 16 * 1024 ** 2;

/** In the folder of the target, so that it gets its name without being copied again; found again by the restore's id. */
const partialOf = (place: string, { restoreId }: KnownDiskRestore): string =>
  join(dirname(place), `.sendense-restore-${restoreId}.partial`);

/** A file, whatever its name. */
const identityOf = async (path: string): Promise<string | undefined> => {
  const found = await lstat(path, { bigint: true }).catch((error) => {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  });
  return found && `${found.dev}:${found.ino}`;
};

const asTargetFailure = (error: unknown): never => {
  if (error instanceof PermanentFailure) throw new RestoreFailure('target', error.message, { cause: error });
  throw error;
};

type Step = Readonly<{ args: readonly string[]; onPercent: (percent: number) => void }>;

type Outcome = Readonly<{ ok: boolean; words: string; said: string }>;

/** qemu-img tells its progress as `(12.34/100%)`, each over the last. */
const runQemuImg = async (
  { args, onPercent }: Step,
  folders: WorkingFolders,
  signal: AbortSignal,
): Promise<Outcome> => {
  signal.throwIfAborted();
  const folder = await folders.make();
  const program = startTied('qemu-img', args, folder.path);
  const stop = (): void => program.kill();
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  let said = '';
  program.stdout.setEncoding('utf8').on('data', (text: string) => {
    said = `${said}${text}`.slice(-1_000);
    const percent = [...said.matchAll(/\((\d+(?:\.\d+)?)\/100%\)/g)].at(-1)?.[1];
    if (percent !== undefined) onPercent(Number(percent));
  });
  try {
    const ended = await program.ended;
    signal.throwIfAborted();
    return { ...ended, said };
  } finally {
    signal.removeEventListener('abort', stop);
    await folder.remove();
  }
};

/** How qemu-img opens the backup, and what it writes to. */
type Plan = Readonly<{ source: string; target: string; createOptions: readonly string[] }>;

const nbdNode = (uri: string): string => {
  const place = parseNbdUri(uri);
  const server =
    place.type === 'unix'
      ? `file.server.type=unix,file.server.path=${quoted(place.socket)}`
      : `file.server.type=inet,file.server.host=${quoted(place.host)},file.server.port=${place.port}`;
  const name = place.exportName === '' ? '' : `,file.export=${quoted(place.exportName)}`;
  return `file.driver=nbd,${server}${name}`;
};

const convert = async (job: KnownDiskRestore, plan: Plan, onProgress: OnProgress, run: Run): Promise<void> => {
  const { target } = job;
  const to =
    target.type === 'image'
      ? ['-O', target.format, ...plan.createOptions, '-t', 'writeback', '--image-opts', plan.source, plan.target]
      : ['-n', '-t', 'writeback', '--image-opts', '--target-image-opts', plan.source, plan.target];
  const args = ['convert', '-p', ...to];
  const { ok, words } = await run({ args, onPercent: (percent) => onProgress('copying', percent) });
  if (!ok) throw new RestoreFailure(/error while reading/i.test(words) ? 'image' : 'target', words);
};

type Run = (step: Step) => Promise<Outcome>;

const compare = async (plan: Plan, opened: string, onProgress: OnProgress, run: Run): Promise<void> => {
  const args = ['compare', '-p', '--image-opts', plan.source, opened];
  const { ok, words, said } = await run({ args, onPercent: (percent) => onProgress('verifying', percent) });
  if (ok) return;
  const reason = /Content mismatch[^\r\n]*/.exec(said)?.[0] ?? words;
  throw new RestoreFailure('verification', `the copy is not what the backup holds: ${reason}`);
};

const assertSpace = async (folder: string, imagePath: string, signal: AbortSignal): Promise<void> => {
  const needed = await measureData(imagePath, signal);
  const { bavail, bsize } = await statfs(folder);
  const available = bavail * bsize;
  if (available >= needed + reserveBytes) return;
  throw new RestoreFailure('target', `the disk holds ${needed} bytes, and ${available} are free in ${folder}`);
};

const flush = async (path: string): Promise<void> => {
  await chmod(path, 0o640);
  await using file = await open(path, 'r');
  await file.sync();
};

const noHardLinks: ReadonlySet<string | undefined> = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS']);

/** Never over a file that came meanwhile: a link fails where a name is taken, a rename does not. */
const giveName = async (partial: string, place: string, overwrite: boolean): Promise<void> => {
  if (overwrite) return rename(partial, place);
  try {
    await link(partial, place);
  } catch (error) {
    if (errnoOf(error) === 'EEXIST')
      throw new RestoreFailure('target', `${place} came into being meanwhile, and is not replaced`, { cause: error });
    if (!noHardLinks.has(errnoOf(error))) throw error;
    if ((await identityOf(place)) !== undefined)
      throw new RestoreFailure('target', `${place} came into being meanwhile, and is not replaced`, { cause: error });
    return rename(partial, place);
  }
  await rm(partial);
};

const sourceOf = ({ imagePath }: KnownDiskRestore): string =>
  `driver=qcow2,file.driver=file,file.filename=${quoted(imagePath)}`;

/**
 * One program does it: `qemu-img convert` opens the chain itself, knows the holes, writes files and NBD exports alike, and
 * tells its progress. Nothing listens anywhere, and nothing has to be found again after a crash but one file.
 */
export const createDiskCopier = ({ folders, targets }: Deps): DiskCopier => {
  const toImage = async (job: KnownDiskRestore, onProgress: OnProgress, signal: AbortSignal): Promise<string> => {
    const { target } = job;
    if (target.type !== 'image') throw new Error('this restore is to no image');
    const place = await targets.resolve(target.path);
    const partial = partialOf(place, job);
    const run: Run = (step) => runQemuImg(step, folders, signal);
    const createOptions = target.format === 'qcow2' ? ['-o', 'cluster_size=1M'] : [];
    const plan = { source: sourceOf(job), target: partial, createOptions };
    try {
      await rm(partial, { force: true });
      await assertSpace(dirname(place), job.imagePath, signal);
      await convert(job, plan, onProgress, run);
      await flush(partial);
      const opened = `driver=${target.format},file.driver=file,file.filename=${quoted(partial)}`;
      if (job.verify) await compare(plan, opened, onProgress, run);
      return (await identityOf(partial)) ?? '';
    } catch (error) {
      await rm(partial, { force: true });
      return rethrowAsFinal(place)(error);
    }
  };

  const toNbd = async (job: KnownDiskRestore, onProgress: OnProgress, signal: AbortSignal): Promise<null> => {
    const { target } = job;
    if (target.type !== 'nbd') throw new Error('this restore is to no NBD export');
    // As long as the disk: what an export has beyond it is neither written nor compared.
    const node = `driver=raw,size=${job.sizeBytes},${nbdNode(target.uri)}`;
    const run: Run = (step) => runQemuImg(step, folders, signal);
    const plan = { source: sourceOf(job), target: node, createOptions: [] };
    await convert(job, plan, onProgress, run);
    if (job.verify) await compare(plan, node, onProgress, run);
    return null;
  };

  return {
    copy: async (job, onProgress, signal) => {
      await targets.assertUsable(job.target);
      await inspectChain(job.imagePath, signal).catch((error: unknown) => {
        throw error instanceof PermanentFailure ? new RestoreFailure('image', error.message, { cause: error }) : error;
      });
      return (job.target.type === 'image' ? toImage : toNbd)(job, onProgress, signal).catch(asTargetFailure);
    },
    publish: async (job) => {
      if (job.target.type !== 'image') return;
      const place = await targets.resolve(job.target.path);
      const partial = partialOf(place, job);
      // Named already by a hub that ended before it could tell.
      if ((await identityOf(place)) === job.file) return rm(partial, { force: true });
      if ((await identityOf(partial)) !== job.file)
        throw new RestoreFailure('target', `${partial} is gone, which held the copy`);
      await giveName(partial, place, job.target.overwrite).catch(rethrowAsFinal(place)).catch(asTargetFailure);
      await syncDirectory(dirname(place));
    },
    discard: async (job) => {
      if (job.target.type !== 'image') return;
      const place = await targets.resolve(job.target.path).catch(() => undefined);
      if (place !== undefined) await rm(partialOf(place, job), { force: true });
    },
  };
};
