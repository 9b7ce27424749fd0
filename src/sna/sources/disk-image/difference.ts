import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { type Extent, extentList, union } from '../../extents.ts';
import type { RunOptions } from '../../programs.ts';
import { type ImageInfo, qemuNameOf, type Reader } from './image-info.ts';
import type { DiskFile } from './vm-file.ts';

export type LiveDisk = DiskFile & ImageInfo;

/** Where a disk differs from its mirror. Finding it changes nothing; `apply` makes the mirror equal in these places. */
export type Difference = Readonly<{ extents: readonly Extent[]; apply(): Promise<void> }>;

export type Comparison = Readonly<{
  disk: LiveDisk;
  mirrorPath: string;
  mirrorSizeBytes: number;
  /** For temporary files, of this disk alone. */
  folder: string;
}>;

type Run = (...command: [string, ...string[]]) => Promise<string>;

const granularityBytes = 64 * 1024;
const script = fileURLToPath(new URL('changed-blocks.pl', import.meta.url));

const extentsPath = (folder: string) => join(folder, 'extents');
const deltaPath = (folder: string) => join(folder, 'delta.qcow2');

/** Of a run, or left by one that was killed. */
export const removeTemporaryFiles = async (folder: string): Promise<void> => {
  await Promise.all([extentsPath, deltaPath].map((path) => rm(path(folder), { force: true })));
};

export const findDifference = (
  comparison: Comparison,
  reader: Reader,
  how: RunOptions,
  signal: AbortSignal,
): Promise<Difference> => {
  const run: Run = (...command) => reader.programs.run(command, how, signal);
  return comparison.disk.format === 'raw' && reader.perl
    ? compareFiles(comparison, run)
    : compareImages(comparison, reader, run);
};

const compareFiles = async ({ disk, mirrorPath, folder }: Comparison, run: Run): Promise<Difference> => {
  const lines = (await run('perl', script, disk.path, mirrorPath, String(granularityBytes))).split('\n');
  const extents = union(
    lines.flatMap((line) => {
      const [offset, length] = line.split(' ').map(Number);
      return offset === undefined || length === undefined ? [] : [{ offset, length }];
    }),
  );
  const apply = async () => {
    await writeFile(extentsPath(folder), extentList(extents), { mode: 0o600 });
    const nbdkit = ['nbdkit', '--exit-with-parent'] as const;
    const from = [
      ...nbdkit,
      '-r',
      '--filter=extentlist',
      'file',
      `file=${disk.path}`,
      `extentlist=${extentsPath(folder)}`,
    ];
    const request = ['-S', '0', '--destination-is-zero', `--request-size=${granularityBytes}`];
    await run(
      'nbdcopy',
      '--flush',
      ...request,
      '--',
      '[',
      ...from,
      ']',
      '[',
      ...nbdkit,
      'file',
      `file=${mirrorPath}`,
      ']',
    );
  };
  return { extents, apply };
};

const MapEntries = z.array(
  z.object({ start: z.number(), length: z.number(), depth: z.number(), data: z.boolean(), present: z.boolean() }),
);
export type MapEntry = z.infer<typeof MapEntries>[number];

/** What qemu-img tells of an image: which ranges are allocated in which layer, and which hold data. */
export const parseMap = (json: string): readonly MapEntry[] => MapEntries.parse(JSON.parse(json));

/**
 * A rebase of an empty overlay from the disk onto the mirror leaves in it just the clusters (64 KiB) in which the two
 * differ; a commit writes them to the mirror.
 */
const compareImages = async (comparison: Comparison, { aio, direct }: Reader, run: Run): Promise<Difference> => {
  const { disk, mirrorPath, mirrorSizeBytes } = comparison;
  const delta = deltaPath(comparison.folder);
  // Direct: else the mirror's holes fill the page cache with as many zero pages as the disk is large.
  const mirror = qemuNameOf([{ path: mirrorPath, format: 'raw' }], { aio, direct });
  const size = String(mirrorSizeBytes);
  await run('qemu-img', 'create', '-q', '-u', '-f', 'qcow2', '-b', disk.qemuName, '-F', disk.format, delta, size);
  await run('qemu-img', 'rebase', '-q', '-f', 'qcow2', '-b', mirror, '-F', 'raw', delta);
  const map = parseMap(await run('qemu-img', 'map', '--output=json', '-f', 'qcow2', delta));
  return {
    extents: union(
      map
        .filter(({ depth, present }) => depth === 0 && present)
        .map(({ start, length }) => ({ offset: start, length })),
    ),
    apply: async () => {
      await run('qemu-img', 'commit', '-q', '-d', '-f', 'qcow2', delta);
    },
  };
};
