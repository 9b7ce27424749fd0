import type { ArchiveFormat, FileFacts, OpenedFile } from '#commands/file-tree-ports.ts';
import { PiecePool } from '#commands/piece-pool.ts';
import { createFileTrees } from '#infra/backup-files/file-trees.ts';

export const trees = createFileTrees();
export const never = new AbortController().signal;

export const stepsOf = (path: string): readonly string[] => path.split('/').filter((step) => step !== '');

export const withOpened = async <T>(
  root: string,
  path: string,
  work: (opened: OpenedFile) => Promise<T>,
  followLast = true,
): Promise<T> => {
  const opened = await trees.open(root, stepsOf(path), { followLast });
  try {
    return await work(opened);
  } finally {
    await opened.close();
  }
};

export const joined = async (pieces: AsyncIterable<Uint8Array>): Promise<Buffer> => {
  const parts: Buffer[] = [];
  for await (const piece of pieces) parts.push(Buffer.from(piece));
  return Buffer.concat(parts);
};

export const contentAt = (root: string, path: string): Promise<Buffer> =>
  withOpened(root, path, (opened) =>
    joined(opened.read({ start: 0, end: opened.facts.sizeBytes - 1 }, new PiecePool(4096), never)),
  );

export const listAt = (
  root: string,
  path: string,
  { recursive = false, after }: Readonly<{ recursive?: boolean; after?: string }> = {},
): Promise<readonly FileFacts[]> =>
  withOpened(root, path, async (opened) => {
    const found: FileFacts[] = [];
    const options = { recursive, signal: never, ...(after === undefined ? {} : { after }) };
    for await (const { entries } of opened.list(options)) found.push(...entries);
    return found;
  });

export const pathsAt = async (...args: Parameters<typeof listAt>): Promise<readonly string[]> =>
  (await listAt(...args)).map(({ path }) => path);

export const archiveOf = async (root: string, format: ArchiveFormat, path = '/'): Promise<Buffer> => {
  const archive = await trees.archive([{ prefix: '', root, path: stepsOf(path) }], format, never);
  try {
    return await joined(archive.body);
  } finally {
    await archive.close();
  }
};
