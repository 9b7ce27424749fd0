import { open, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, isAbsolute, normalize } from 'node:path';
import { type DiskImages, PermanentFailure } from '#process-managers/ports.ts';
import { errnoOf, makeFolder, syncDirectory } from '../durable-file.ts';
import { type ImageLayout, writeEmptyImage } from './empty-image.ts';
import { rethrowAsFinal } from './final-errors.ts';
import { removeImage } from './image-removal.ts';
import { unlessAborted } from './program.ts';
import { type Qcow2Header, readQcow2Header } from './qcow2-header.ts';

export type ImageLayouts = Readonly<{ base: ImageLayout; overlay: ImageLayout }>;

/**
 * Bases get 1 MiB clusters: a full copy of 2 GiB takes 2.2 s with them and 4.1 s with 64 KiB, and fewer tables serve
 * larger disks from memory. No preallocation: it would save a part of that, but makes an empty image look full.
 *
 * Overlays get 512 KiB clusters with 32 subclusters of 16 KiB. A change of 64 KiB must not cost a whole cluster: plain
 * 1 MiB clusters store 823 MiB for 100 MiB of change, plain 128 KiB ones 190 MiB. Measured on a 1 GiB disk, medians of
 * one series on a busy host; the last column is the making by `qemu-img create`, which
 * wrote the tables out in full:
 *
 * | clusters              | 1600 x 64 KiB changed | 100 x 1 MiB changed | all changed | empty image | make  |
 * |-----------------------|-----------------------|---------------------|-------------|-------------|-------|
 * | 64 KiB                | 0.43 s, 100 MiB       | 0.42 s, 100 MiB     | 2.1 s       | 0.2 MiB     | 11 ms |
 * | 256 KiB + subclusters | 0.39 s, 101 MiB       | 0.33 s, 101 MiB     | 2.0 s       | 0.8 MiB     | 10 ms |
 * | 512 KiB + subclusters | 0.39 s, 102 MiB       | 0.37 s, 102 MiB     | 1.4 s       | 1.5 MiB     | 13 ms |
 * | 1 MiB + subclusters   | 0.41 s, 104 MiB       | 0.38 s, 104 MiB     | 1.3 s       | 3.1 MiB     | 22 ms |
 */
const measuredBest: ImageLayouts = {
  base: { clusterSizeBytes: 1024 ** 2, subclusters: false },
  overlay: { clusterSizeBytes: 512 * 1024, subclusters: true },
};

type CreateRequest = Parameters<DiskImages['create']>[0];

/** Paths come from settings and ids: one that is not plain is a mistake that no retry repairs. */
const assertPlainPath = (path: string): void => {
  if (isAbsolute(path) && normalize(path) === path && !path.endsWith('/') && !path.includes('\0')) return;
  throw new PermanentFailure(`image path ${JSON.stringify(path)} is not absolute and normalised`);
};

const assertUsable = ({ imagePath, virtualSizeBytes, basePath }: CreateRequest): void => {
  assertPlainPath(imagePath);
  if (!Number.isSafeInteger(virtualSizeBytes) || virtualSizeBytes <= 0)
    throw new PermanentFailure(`${virtualSizeBytes} bytes is not the size of a disk (${imagePath})`);
  if (basePath === undefined) return;
  assertPlainPath(basePath);
  if (dirname(basePath) !== dirname(imagePath) || basePath === imagePath)
    throw new PermanentFailure(`${basePath} is not in the folder of its overlay ${imagePath}`);
  // In a relative name qemu takes what stands before a colon for a protocol.
  if (basename(basePath).includes(':'))
    throw new PermanentFailure(`a base cannot have a colon in its name: ${basePath}`);
};

const roundUpToSector = (bytes: number): number => Math.ceil(bytes / 512) * 512;

const headerOf = async (imagePath: string): Promise<Qcow2Header> => {
  const header = await readQcow2Header(imagePath).catch(rethrowAsFinal(imagePath));
  if (header === undefined) throw new PermanentFailure(`${imagePath} is not a qcow2 image`);
  return header;
};

const isFile = async (path: string): Promise<boolean> => {
  const found = await stat(path).catch((error) => {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
    throw error;
  });
  return found?.isFile() ?? false;
};

/** A repeat finds its own image; a different one under that name must not be taken for it. */
const assertSame = (header: Qcow2Header, { imagePath, virtualSizeBytes, basePath }: CreateRequest): void => {
  const wantedBase = basePath === undefined ? null : basename(basePath);
  if (header.virtualSizeBytes === roundUpToSector(virtualSizeBytes) && header.backingFile === wantedBase) return;
  throw new PermanentFailure(
    `${imagePath} exists already with ${header.virtualSizeBytes} bytes on ${header.backingFile ?? 'no base'}`,
  );
};

const makeComplete = async (request: CreateRequest, layouts: ImageLayouts, signal: AbortSignal): Promise<void> => {
  const { imagePath, virtualSizeBytes, basePath } = request;
  const partialPath = `${imagePath}.partial`;
  const image = { virtualSizeBytes: roundUpToSector(virtualSizeBytes) };
  try {
    if (basePath !== undefined) await headerOf(basePath); // an overlay of nothing would open nowhere
    await makeFolder(dirname(imagePath));
    {
      await using file = await open(partialPath, 'w', 0o644);
      await file.chmod(0o644);
      await writeEmptyImage(
        file,
        basePath === undefined
          ? { ...image, ...layouts.base }
          : { ...image, ...layouts.overlay, backingName: basename(basePath) },
      );
    }
    signal.throwIfAborted();
    // Not flushed: an empty image is worth nothing yet, a power cut ends the job that it belongs to, and `seal` flushes it
    // with its folders. It would cost each start 20 ms.
    await rename(partialPath, imagePath);
  } catch (error) {
    // Where even this fails (a file stands in the place of the folder), the first error tells why.
    await rm(partialPath, { force: true }).catch(() => undefined);
    return rethrowAsFinal(imagePath)(error);
  }
};

const create = async (request: CreateRequest, layouts: ImageLayouts, signal: AbortSignal): Promise<void> => {
  signal.throwIfAborted();
  assertUsable(request);
  if (await isFile(request.imagePath)) return assertSame(await headerOf(request.imagePath), request);
  return makeComplete(request, layouts, signal);
};

const flush = async (path: string): Promise<void> => {
  await using file = await open(path, 'r');
  await file.chmod(0o444);
  await file.sync();
};

const seal = async (imagePath: string): Promise<void> => {
  assertPlainPath(imagePath);
  // `<VM>/disk-<n>/<image>`: both folders may be as new as the image, and nobody has flushed them yet.
  const folders = [imagePath, dirname(imagePath), dirname(dirname(imagePath))].map((path) => dirname(path));
  // Side by side: one commit of the filesystem's journal serves them all.
  await Promise.all([flush(imagePath), ...[...new Set(folders)].map(syncDirectory)]);
};

export const createDiskImages = (layouts: ImageLayouts = measuredBest): DiskImages => ({
  create: (request, signal) => create(request, layouts, signal),
  inspect: async (imagePath, signal) => {
    assertPlainPath(imagePath);
    return { ...(await unlessAborted(() => headerOf(imagePath), signal)), format: 'qcow2' };
  },
  exists: (imagePath) => isFile(imagePath),
  seal: (imagePath, signal) => unlessAborted(() => seal(imagePath).catch(rethrowAsFinal(imagePath)), signal),
  delete: async (imagePath, rootPath) => {
    assertPlainPath(imagePath);
    assertPlainPath(rootPath);
    await removeImage(imagePath, rootPath).catch(rethrowAsFinal(imagePath));
  },
});
