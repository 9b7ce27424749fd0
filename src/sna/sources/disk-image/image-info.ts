import { rm, writeFile } from 'node:fs/promises';
import { dirname, isAbsolute, join, relative } from 'node:path';
import { z } from 'zod';
import { ProgramFailed, type Programs } from '../../programs.ts';
import { type DiskFile, type ImageFormat, insideFolder } from './vm-file.ts';

/** What qemu-img tells about a disk, and under which JSON name it opens the disk beside a writer. */
export type ImageInfo = Readonly<{ capacityBytes: number; files: readonly string[]; qemuName: string }>;

const QemuInfo = z.object({
  'virtual-size': z.number().int().nonnegative(),
  'backing-filename': z.string().optional(),
  'backing-filename-format': z.string().optional(),
  'format-specific': z.object({ data: z.object({ 'data-file': z.string().optional() }).loose() }).optional(),
});

const infoTimeoutMs = 20_000;
const probeBytes = 4096;
const maxChainLength = 32;

type Layer = Readonly<{ path: string; format: ImageFormat }>;
type ReadLayer = Layer & Readonly<{ capacityBytes: number; backing?: Layer }>;

const qemuInfo = async ({ path, format }: Layer, programs: Programs, signal: AbortSignal) => {
  // Without --backing-chain qemu-img opens this one file only. -U: its writer may hold the lock.
  const command = ['qemu-img', 'info', '-U', '--output=json', '-f', format, path] as const;
  return QemuInfo.parse(JSON.parse(await programs.run(command, { timeoutMs: infoTimeoutMs }, signal)));
};

/** A backing file is named by the image, thus by whoever made it: it must be in the folder and say its format. */
const backingOf = async (layer: Layer, name: string, format: string | undefined, folder: string): Promise<Layer> => {
  if (format !== 'raw' && format !== 'qcow2')
    throw new Error(`'${layer.path}' does not tell its backing file's format`);
  if (/^[a-z+]+:/i.test(name)) throw new Error(`'${layer.path}' has a backing file that is not a plain file`);
  const inFolder = isAbsolute(name) ? relative(folder, name) : relative(folder, `${dirname(layer.path)}/${name}`);
  return { path: await insideFolder(folder, inFolder), format };
};

const readLayer = async (layer: Layer, folder: string, programs: Programs, signal: AbortSignal): Promise<ReadLayer> => {
  const info = await qemuInfo(layer, programs, signal);
  if (info['format-specific']?.data['data-file'] !== undefined) {
    throw new Error(`'${layer.path}' keeps its data in a file of its own, which is not supported`);
  }
  const capacityBytes = info['virtual-size'];
  const name = info['backing-filename'];
  if (name === undefined) return { ...layer, capacityBytes };
  return { ...layer, capacityBytes, backing: await backingOf(layer, name, info['backing-filename-format'], folder) };
};

/** Layers from the active one down; each is checked before the next is opened. */
const readChain = async (disk: Layer, folder: string, programs: Programs, signal: AbortSignal) => {
  const layers: ReadLayer[] = [];
  for (let next: Layer | undefined = disk; next !== undefined; next = layers.at(-1)?.backing) {
    if (layers.length === maxChainLength)
      throw new Error(`'${disk.path}' has more than ${maxChainLength} backing files`);
    layers.push(await readLayer(next, folder, programs, signal));
  }
  return layers;
};

/**
 * How qemu-img reads. With io_uring what is cached is read without another thread's help: on a busy host a comparison
 * takes a third of the time. Containers often forbid it, old kernels lack it. `direct` goes past the page cache, which
 * some filesystems cannot.
 */
export type Access = Readonly<{ aio: 'io_uring' | 'threads'; direct: boolean }>;

/** How disks are read on this host. `perl`: raw disks are compared by a program that skips holes. */
export type Reader = Access & Readonly<{ perl: boolean; programs: Programs }>;

// Without locks: the strangers who write the image must be able to open it while we read.
const blockdev = ([layer, ...below]: readonly Layer[], access: Access): object | null =>
  layer === undefined
    ? null
    : {
        driver: layer.format,
        file: {
          ...{ driver: 'file', filename: layer.path, locking: 'off', aio: access.aio },
          cache: { direct: access.direct },
        },
        ...(layer.format === 'qcow2' ? { backing: blockdev(below, access) } : {}),
      };

export const qemuNameOf = (layers: readonly Layer[], access: Access): string =>
  `json:${JSON.stringify(blockdev(layers, access))}`;

type Probe = (...command: [string, ...string[]]) => Promise<boolean>;

/** What this host and the folder's filesystem allow. */
export const probeReader = async (folder: string, programs: Programs, signal: AbortSignal): Promise<Reader> => {
  const path = join(folder, 'reader-probe');
  const works: Probe = async (...command) => {
    try {
      await programs.run(command, { timeoutMs: infoTimeoutMs }, signal);
      return true;
    } catch (error) {
      if (error instanceof ProgramFailed) return false;
      throw error;
    }
  };
  const opens = (access: Access) => works('qemu-img', 'info', qemuNameOf([{ path, format: 'raw' }], access));
  await writeFile(path, Buffer.alloc(probeBytes));
  try {
    const aio = (await opens({ aio: 'io_uring', direct: false })) ? 'io_uring' : 'threads';
    return { aio, direct: await opens({ aio, direct: true }), perl: await works('perl', '-e', '1'), programs };
  } finally {
    await rm(path, { force: true });
  }
};

export const readQcow2Info = async (
  { path }: DiskFile,
  folder: string,
  { programs, aio }: Reader,
  signal: AbortSignal,
): Promise<ImageInfo> => {
  const layers = await readChain({ path, format: 'qcow2' }, folder, programs, signal);
  return {
    capacityBytes: layers[0]?.capacityBytes ?? 0,
    files: layers.map((layer) => layer.path),
    qemuName: qemuNameOf(layers, { aio, direct: false }),
  };
};
