import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { freePort } from '../../src/demo/free-port.ts';
import { type BareExport, createBareImage, startBareExport, stopBareExport } from './bare-script.ts';
import { alternate, type Bench, type Benchmark } from './benchmark.ts';
import { comparedFigure, type Outcome } from './figures.ts';
import { type HeldBackWorld, openHeldBackWorld, untilNextSecond } from './held-back.ts';
import { timed, untilIdle } from './machine.ts';
import { breakDown, untilAnswered, type Watched } from './timeline.ts';

const gib = 1024 ** 3;
const limit = 1.5;
const disks = [0, 1];
const vmName = 'bench';

/** The same images and exports, on TCP as the hub's, one after the other; what follows belongs to no sample. */
const runScript = async (bench: Bench): Promise<number> => {
  const folder = join(bench.folder, 'bare');
  await mkdir(folder);
  const ports = [await freePort(), await freePort()];
  const served: BareExport[] = [];
  try {
    return await timed(async () => {
      const images: string[] = [];
      for (const index of disks)
        images.push(await createBareImage({ folder, name: `disk-${index}`, sizeBytes: 2 * gib }));
      for (const index of disks) served.push(await startBareExport(images[index] ?? '', ports[index]));
    });
  } finally {
    await Promise.all(served.map(stopBareExport));
    await rm(folder, { recursive: true });
  }
};

const measure = async (world: HeldBackWorld, bench: Bench): Promise<Outcome> => {
  const watched: Watched[] = [];
  const samples = await alternate(
    bench.quick ? 3 : 21,
    {
      hub: async () => {
        await untilIdle(bench.signal);
        await untilNextSecond(bench.signal);
        const job = await world.start(vmName);
        watched.push(await job.watched());
        await world.fail([job.backupId]);
        return job.tookMs;
      },
      bare: async () => {
        await untilIdle(bench.signal);
        return runScript(bench);
      },
    },
    bench,
  );
  return {
    conditions: ['a VM with two disks of 2 GiB; the node takes the job at once and begins nothing'],
    figures: [
      comparedFigure(
        { name: 'POST /backups until its answer', unit: 'ms', samples: samples.hub, limit },
        { name: 'qemu-img create and qemu-nbd --fork, twice, in turn', samples: samples.bare },
      ),
    ],
    breakdowns: [breakDown('from the request to its answer', untilAnswered, watched.slice(1))],
  };
};

export const postBackups: Benchmark = {
  name: 'post-backups',
  run: async (bench) => {
    const world = await openHeldBackWorld(bench, { vmNames: [vmName], disks: disks.length, diskBytes: 2 * gib });
    try {
      return await measure(world, bench);
    } finally {
      await world.close();
    }
  },
};
