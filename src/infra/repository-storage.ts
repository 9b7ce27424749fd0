import { access, constants, realpath, rm, stat, writeFile } from 'node:fs/promises';
import { isAbsolute, join, normalize, sep } from 'node:path';
import type { RepositoryAccess } from '#commands/backup-ports.ts';
import type { RepositoryProbe, StorageFacts } from '#commands/repository-ports.ts';
import type { StorageSpace } from '#domain/repository/storage.ts';
import { PermanentFailure } from '#process-managers/ports.ts';
import { makeFolder } from './durable-file.ts';
import { rethrowAsFinal } from './qemu/final-errors.ts';
import { runProgram, unlessAborted } from './qemu/program.ts';

/**
 * The folders that repositories are. Every call ends within 5 s, also on a network mount that hangs, and throws a sentence:
 * as `PermanentFailure` when it stays true, as a plain error when the file system does not answer.
 */
export type RepositoryStorage = RepositoryProbe &
  RepositoryAccess &
  Readonly<{
    /** The real path of something inside `rootPath`; throws for what is missing or what links lead out of it. */
    resolveInside(rootPath: string, candidate: string): Promise<string>;
  }>;

const timeoutMs = 5_000;
const neverAborted = new AbortController().signal;
const testFileName = '.sendense_test';

const assertPlainPath = (path: string): void => {
  if (isAbsolute(path) && normalize(path) === path && !path.includes('\0')) return;
  throw new PermanentFailure(`The path ${JSON.stringify(path)} is not absolute and normalised.`);
};

/** What hangs cannot be cancelled, but whoever waits for it is let go. */
const bounded = async <T>(
  path: string,
  work: (signal: AbortSignal) => Promise<T>,
  signal: AbortSignal = neverAborted,
): Promise<T> => {
  const timeout = AbortSignal.timeout(timeoutMs);
  const within = AbortSignal.any([signal, timeout]);
  try {
    return await unlessAborted(() => work(within), within);
  } catch (error) {
    signal.throwIfAborted();
    if (timeout.aborted) throw new Error(`The file system of ${path} did not answer within ${timeoutMs / 1000} s.`);
    throw error;
  }
};

/**
 * A process of its own asks: four hanging calls of our own would take all threads that Node has for files, and with them
 * every other repository. `%S` is the size of a block, `%b` how many there are, `%a` how many users may take.
 */
const measure = async (path: string, signal: AbortSignal): Promise<StorageSpace> => {
  const args = ['--file-system', '--format=%S %b %a', '--', path];
  const output = await runProgram('stat', args, timeoutMs, signal).catch((error) => {
    if (!(error instanceof PermanentFailure)) throw error;
    throw new PermanentFailure(`${path}: ${error.message.split(': ').at(-1)}`, { cause: error });
  });
  const [blockBytes = Number.NaN, blocks = Number.NaN, available = Number.NaN] = output.split(' ').map(Number);
  const totalBytes = blockBytes * blocks;
  const availableBytes = blockBytes * available;
  if (!Number.isFinite(totalBytes + availableBytes)) throw new Error(`stat answered ${output} for ${path}`);
  return { totalBytes, usedBytes: totalBytes - availableBytes, availableBytes };
};

const assertFolder = async (path: string): Promise<void> => {
  const found = await stat(path).catch(rethrowAsFinal(path));
  if (!found.isDirectory()) throw new PermanentFailure(`${path} is not a folder.`);
};

const writeTest = async (path: string): Promise<void> => {
  const testPath = join(path, testFileName);
  try {
    await writeFile(testPath, 'Sendense was here and may write.\n', { mode: 0o600, flush: true });
  } finally {
    await rm(testPath, { force: true });
  }
};

const isWritable = (path: string): Promise<boolean> =>
  access(path, constants.W_OK).then(
    () => true,
    () => false,
  );

const isFile = (path: string): Promise<boolean> =>
  stat(path).then(
    (found) => found.isFile(),
    () => false,
  );

const resolveInside = async (rootPath: string, candidate: string): Promise<string> => {
  for (const path of [rootPath, candidate]) assertPlainPath(path);
  const root = await realpath(rootPath).catch(rethrowAsFinal(rootPath));
  const real = await realpath(candidate).catch(rethrowAsFinal(candidate));
  if (real.startsWith(root.endsWith(sep) ? root : `${root}${sep}`)) return real;
  throw new PermanentFailure(`${candidate} is not inside ${rootPath}.`);
};

const test = async (path: string, signal: AbortSignal): Promise<StorageFacts> => {
  assertPlainPath(path);
  await makeFolder(path).catch(rethrowAsFinal(path));
  const space = await measure(path, signal);
  await writeTest(path).catch(rethrowAsFinal(path));
  return { ...space, writable: true };
};

export const createRepositoryStorage = (): RepositoryStorage => ({
  test: (path, signal) => bounded(path, (within) => test(path, within), signal),
  measure: (path, signal) =>
    bounded(
      path,
      async (within) => {
        assertPlainPath(path);
        return { ...(await measure(path, within)), writable: await isWritable(path) };
      },
      signal,
    ),
  realPath: (path) => bounded(path, () => realpath(path).catch(rethrowAsFinal(path))),
  imageExists: (path) => bounded(path, () => isFile(path)),
  assertWritable: (rootPath) =>
    bounded(rootPath, async () => {
      await assertFolder(rootPath);
      await access(rootPath, constants.W_OK).catch(rethrowAsFinal(rootPath));
    }),
  resolveInside: (rootPath, candidate) => bounded(candidate, () => resolveInside(rootPath, candidate)),
});
