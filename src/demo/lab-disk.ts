import { mkdir, mkdtemp, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { logLinesOf, randomBytesOf, type SampleFile, uuidOf, writeSampleFile } from './sample-data.ts';
import type { RunTool } from './tools.ts';

export type ImageFormat = 'raw' | 'qcow2';

/** A range of the disk. */
export type DiskRange = Readonly<{ offset: number; length: number }>;

export type LabDisk = Readonly<{
  index: number;
  path: string;
  format: ImageFormat;
  capacityBytes: number;
  /** What was put into its files; holes do not count. */
  filledBytes: number;
  /** Where the database file lies on the disk: whoever writes there changes that file. */
  databaseRanges: readonly DiskRange[];
}>;

export type LabDiskSpec = Readonly<{ index: number; format: ImageFormat; capacityBytes: number; label: string }>;

/** `scratchFolder`: for what is only needed meanwhile. */
export type Place = Readonly<{ folder: string; scratchFolder: string; signal: AbortSignal; run: RunTool }>;

const mib = 1024 ** 2;
/** Where the only partition begins. */
export const partitionOffset = mib;
const sectorBytes = 512;
const blockBytes = 4096;
const databasePath = '/var/lib/database.db';
const filledShare = 1 / 3;

/** A small file of every disk, as it is made. */
export const motd = 'Made by the Sendense demo.\n';

/** The filesystem inside the image, as e2fsprogs name it. */
export const filesystemIn = (rawPath: string): string => `${rawPath}?offset=${partitionOffset}`;

/** A quarter of it compresses, some are holes, the rest is random. */
const filesOf = (root: string, contentBytes: number, seed: string): readonly SampleFile[] => {
  const share = (part: number): number => Math.floor((contentBytes * part) / blockBytes) * blockBytes;
  const random = (name: string) => randomBytesOf(`${seed}/${name}`);
  return [
    { path: join(root, 'var/log/messages'), sizeBytes: share(1 / 4), source: logLinesOf(seed) },
    { path: join(root, databasePath), sizeBytes: share(1 / 4), source: random('database') },
    { path: join(root, 'srv/archive/2024.tar'), sizeBytes: share(1 / 8), source: random('2024') },
    { path: join(root, 'srv/archive/2025.tar'), sizeBytes: share(1 / 4), source: random('2025') },
    { path: join(root, 'srv/sparse.img'), sizeBytes: share(1 / 2), source: random('sparse'), everyNth: 4 },
  ];
};

const fillFolder = async (root: string, contentBytes: number, seed: string, signal: AbortSignal): Promise<void> => {
  for (const name of ['etc', 'var/log', 'var/lib', 'srv/archive']) await mkdir(join(root, name), { recursive: true });
  await writeFile(join(root, 'etc/hostname'), `${seed}\n`);
  await writeFile(join(root, 'etc/motd'), motd);
  for (const file of filesOf(root, contentBytes, seed)) await writeSampleFile(file, signal);
};

const partition = async (path: string, seed: string, run: RunTool): Promise<void> => {
  const table = [
    'label: dos',
    `label-id: 0x${uuidOf(seed).slice(0, 8)}`,
    `start=${partitionOffset / sectorBytes}, type=83`,
  ];
  await run(['sfdisk', '--quiet', '--no-reread', '--no-tell-kernel', path], {
    input: `${table.join('\n')}\n`,
  });
};

const makeFilesystem = async (path: string, spec: LabDiskSpec, from: string, run: RunTool): Promise<void> => {
  const uuid = uuidOf(`${spec.label}-filesystem`);
  // Inode tables and journal of a new file are zero already; writing the zeroes would only cost space and time.
  const extended = `offset=${partitionOffset},hash_seed=${uuid},lazy_itable_init=1,lazy_journal_init=1`;
  const identity = ['-b', String(blockBytes), '-U', uuid, '-L', spec.label, '-E', extended];
  const sizeKib = Math.floor((spec.capacityBytes - partitionOffset) / 1024);
  await run(['mke2fs', '-q', '-F', '-t', 'ext4', ...identity, '-d', from, path, `${sizeKib}k`]);
};

/** Block numbers, joined to ranges of the disk. */
const rangesOf = (blocks: readonly number[]): readonly DiskRange[] => {
  const ranges: { offset: number; length: number }[] = [];
  for (const block of blocks) {
    const offset = partitionOffset + block * blockBytes;
    const last = ranges.at(-1);
    if (last && last.offset + last.length === offset) last.length += blockBytes;
    else ranges.push({ offset, length: blockBytes });
  }
  return ranges;
};

const findDatabase = async (path: string, run: RunTool): Promise<readonly DiskRange[]> => {
  const { stdout } = await run(['debugfs', '-R', `blocks ${databasePath}`, filesystemIn(path)]);
  return rangesOf(stdout.trim().split(/\s+/).map(Number));
};

/** Makes a disk with a partition table and an ext4 filesystem, about a third full. No root needed: nothing is mounted. */
export const makeLabDisk = async (spec: LabDiskSpec, place: Place): Promise<LabDisk> => {
  const { folder, scratchFolder, signal, run } = place;
  const { index, format, capacityBytes, label } = spec;
  const raw = join(folder, `disk-${index}.raw`);
  const filledBytes = Math.floor(capacityBytes * filledShare);
  const content = await mkdtemp(join(scratchFolder, 'content-'));
  try {
    await fillFolder(content, filledBytes, label, signal);
    await writeFile(raw, '');
    await truncate(raw, capacityBytes);
    await partition(raw, label, run);
    await makeFilesystem(raw, spec, content, run);
  } finally {
    await rm(content, { recursive: true, force: true });
  }
  const databaseRanges = await findDatabase(raw, run);
  const facts = { index, format, capacityBytes, filledBytes, databaseRanges };
  if (format === 'raw') return { ...facts, path: raw };
  const path = join(folder, `disk-${index}.qcow2`);
  await run(['qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', raw, path]);
  await rm(raw);
  return { ...facts, path };
};
