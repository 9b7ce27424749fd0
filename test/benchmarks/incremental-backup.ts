import { mkdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { type ChangedExtent, changeExtents } from '../support/lab-vm.ts';
import { copyBare, createBareImage, startBareExport, stopBareExport } from './bare-script.ts';
import { alternate, type Bench, type Benchmark } from './benchmark.ts';
import { comparedFigure, type Outcome, plainFigure, spreadOf } from './figures.ts';
import { type DoneBackup, type LabWorld, openLabWorld } from './lab-world.ts';
import { timed } from './machine.ts';
import { breakDown, nodeBreakDown, untilAnswered, untilCompleted } from './timeline.ts';

const mib = 1024 ** 2;
const timeLimit = 1.5;
const deviationLimitPercent = 5;
const extentsPerDisk = 50;

type Order = 'side by side' | 'in turn';

const storedBytes = async (paths: readonly string[]): Promise<number> => {
  const found = await Promise.all(paths.map((path) => stat(path)));
  return found.reduce((sum, { blocks }) => sum + blocks * 512, 0);
};

/** Throws unless each image shows what its disk holds, byte for byte. */
const verify = async ({ vm }: LabWorld, images: readonly string[]): Promise<void> => {
  for (const [index, disk] of vm.disks.entries())
    await execa('qemu-img', ['compare', '-f', 'raw', '-F', 'qcow2', disk, images[index] ?? '']);
};

/** The same places every time, with new content: each increment is over the same full backup and has the same size. */
const change = async (world: LabWorld, seed: string): Promise<readonly (readonly ChangedExtent[])[]> => {
  const written: (readonly ChangedExtent[])[] = [];
  for (const disk of world.vm.disks)
    written.push(await changeExtents(disk, { count: extentsPerDisk, sizeBytes: mib, zeroHalf: true, seed }));
  return written;
};

const writeExtentFiles = (extents: readonly (readonly ChangedExtent[])[], folder: string): Promise<readonly string[]> =>
  Promise.all(
    extents.map(async (ofDisk, index) => {
      const path = join(folder, `extents-${index}`);
      await writeFile(path, ofDisk.map(({ offset, length }) => `${offset} ${length}\n`).join(''));
      return path;
    }),
  );

type Script = Readonly<{ order: Order; parents: readonly string[]; extentFiles: readonly string[]; folder: string }>;

const copyDisk = async (world: LabWorld, index: number, script: Script): Promise<string> => {
  const basePath = script.parents[index] ?? '';
  const target = { folder: script.folder, name: `disk-${index}`, sizeBytes: world.diskBytes, basePath };
  const imagePath = await createBareImage(target);
  const served = await startBareExport(imagePath);
  try {
    await copyBare(world.vm.disks[index] ?? '', served.uri, script.extentFiles[index]);
  } finally {
    await stopBareExport(served);
  }
  return imagePath;
};

const copyAll = async (world: LabWorld, script: Script): Promise<readonly string[]> => {
  const copies = world.vm.disks.map((_, index) => () => copyDisk(world, index, script));
  if (script.order === 'side by side') return Promise.all(copies.map((copy) => copy()));
  const images: string[] = [];
  for (const copy of copies) images.push(await copy());
  return images;
};

/** With the list of changes ready, and verified afterwards. */
const runScript = async (
  world: LabWorld,
  script: Omit<Script, 'folder' | 'extentFiles'>,
  extents: readonly (readonly ChangedExtent[])[],
): Promise<Readonly<{ tookMs: number; storedBytes: number }>> => {
  const folder = join(world.scratch, 'bare');
  await mkdir(folder);
  try {
    const extentFiles = await writeExtentFiles(extents, folder);
    let images: readonly string[] = [];
    const tookMs = await timed(async () => {
      images = await copyAll(world, { ...script, folder, extentFiles });
    });
    await verify(world, images);
    return { tookMs, storedBytes: await storedBytes(images) };
  } finally {
    await rm(folder, { recursive: true });
  }
};

const sumOf = (extents: readonly (readonly ChangedExtent[])[]): number =>
  extents.flat().reduce((sum, { length }) => sum + length, 0);

const outcomeOf = (
  samples: Readonly<Record<'hub' | Order, readonly number[]>>,
  jobs: readonly (DoneBackup & Readonly<{ changedBytes: number; storedBytes: number }>)[],
): Outcome => {
  const orders = ['side by side', 'in turn'] as const;
  const [fastest] = orders.toSorted((a, b) => spreadOf(samples[a]).median - spreadOf(samples[b]).median);
  const order = fastest ?? 'side by side';
  const watched = jobs.map((job) => job.watched);
  const deviations = jobs.map((job) => Math.abs(job.bytesTransferred / job.changedBytes - 1) * 100);
  return {
    conditions: [
      `${2 * extentsPerDisk} extents of 1 MiB changed on two raw disks, every second one half zeroes; each result compared with the source`,
      'the script has its list of extents ready; it makes the overlays, serves, copies and stops',
    ],
    figures: [
      comparedFigure(
        { name: 'incremental backup, POST to completed', unit: 'ms', samples: samples.hub, limit: timeLimit },
        { name: `bare script, ${order}`, samples: samples[order] },
      ),
      plainFigure({
        ...{ name: 'bytes transferred, away from those changed', unit: '%' },
        ...{ samples: deviations, limit: deviationLimitPercent },
      }),
      plainFigure({
        ...{ name: 'stored for what changed', unit: 'MiB' },
        samples: jobs.map((job) => job.storedBytes / mib),
      }),
    ],
    breakdowns: [
      breakDown('from the request to its answer', untilAnswered, watched),
      breakDown('from the request to the completed backup', untilCompleted, watched),
      nodeBreakDown(watched),
    ],
  };
};

const measure = async (world: LabWorld, bench: Bench): Promise<Outcome> => {
  const { images: parents } = await world.backUp('full');
  const jobs: (DoneBackup & Readonly<{ changedBytes: number; storedBytes: number }>)[] = [];
  let extents: readonly (readonly ChangedExtent[])[] = [];
  const script = (order: Order) => async () => {
    await world.prepare(sumOf(extents));
    return (await runScript(world, { order, parents }, extents)).tookMs;
  };
  const samples = await alternate(
    bench.quick ? 2 : 9,
    {
      hub: async () => {
        extents = await change(world, `round ${jobs.length}`);
        await world.prepare(sumOf(extents));
        const job = await world.backUp('incremental');
        await verify(world, job.images);
        jobs.push({ ...job, changedBytes: sumOf(extents), storedBytes: await storedBytes(job.images) });
        await world.remove(job.backupId);
        return job.tookMs;
      },
      'side by side': script('side by side'),
      'in turn': script('in turn'),
    },
    bench,
  );
  return outcomeOf(samples, jobs.slice(1));
};

export const incrementalBackup: Benchmark = {
  name: 'incremental-backup',
  run: async (bench) => {
    const sizes = bench.quick
      ? { diskBytes: 256 * mib, dataBytes: 96 * mib }
      : { diskBytes: 2048 * mib, dataBytes: 480 * mib };
    const world = await openLabWorld(bench, sizes);
    try {
      return await measure(world, bench);
    } finally {
      await world.close();
    }
  },
};
