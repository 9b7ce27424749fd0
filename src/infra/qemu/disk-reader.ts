import { createReadStream } from 'node:fs';
import { type ByteSpan, type DiskReader, ImageUnreadable, type OpenedExport } from '#commands/export-disk.ts';
import { PermanentFailure } from '#process-managers/ports.ts';
import { inspectChain } from './image-info.ts';
import { createImageSpool } from './image-spool.ts';
import { readImage } from './image-stream.ts';
import type { WorkingFolders } from './working-folders.ts';

const unreadable = (error: unknown): never => {
  throw error instanceof PermanentFailure ? new ImageUnreadable(error.message, { cause: error }) : error;
};

const fileChunkBytes = 256 * 1024;

/** Opens the file with the first read. */
async function* readFile(path: string, { offset, length }: ByteSpan, signal: AbortSignal): AsyncGenerator<Buffer> {
  if (length === 0) return;
  yield* createReadStream(path, { start: offset, end: offset + length - 1, highWaterMark: fileChunkBytes, signal });
}

export type ClosableDiskReader = DiskReader & Readonly<{ close: () => Promise<void> }>;

/** Raw content is read while it is sent; qcow2 is made in a file first. */
export const createDiskReader = (
  options: Readonly<{ folders: WorkingFolders; lingerMs: number }>,
): ClosableDiskReader => {
  const { folders } = options;
  const spool = createImageSpool(options);
  return {
    open: async ({ imagePath, repositoryPath }, format, signal): Promise<OpenedExport> => {
      // Says what is wrong with the chain while there is still a status to say it with.
      const { virtualSizeBytes: sizeBytes } = await inspectChain(imagePath, signal).catch(unreadable);
      if (format === 'raw') {
        const source = { imagePath, sizeBytes };
        const read: OpenedExport['read'] = (span, reading) => readImage(folders, source, span, reading);
        return { sizeBytes, version: 'raw', read, close: () => undefined };
      }
      const image = await spool.take({ imagePath, repositoryPath }, signal).catch(unreadable);
      return {
        sizeBytes: image.sizeBytes,
        version: image.version,
        read: (span, reading) => readFile(image.path, span, reading),
        close: image.release,
      };
    },
    close: spool.close,
  };
};
