import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { freePort } from '../../src/demo/free-port.ts';
import {
  type BareExport,
  copyBare,
  createBareImage,
  startBareExport,
  stopBareExport,
  type Transport,
} from './bare-script.ts';
import { alternate, type Bench, type Benchmark } from './benchmark.ts';
import { comparedFigure, type Outcome, spreadOf } from './figures.ts';
import { type LabWorld, openLabWorld } from './lab-world.ts';
import { timed } from './machine.ts';
import { breakDown, nodeBreakDown, untilAnswered, untilCompleted, type Watched } from './timeline.ts';

const mib = 1024 ** 2;
const limit = 1.15;
const seconds = (samples: readonly number[]): readonly number[] => samples.map((ms) => ms / 1000);

type Order = 'side by side' | 'in turn';
type Script = Readonly<{ order: Order; transport: Transport }>;

const nameOf = ({ order, transport }: Script): string => `bare script, ${order}, ${transport}`;

const copyDisk = async (world: LabWorld, index: number, { transport }: Script, folder: string): Promise<void> => {
  const sourcePath = world.vm.disks[index] ?? '';
  const port = transport === 'tcp' ? await freePort() : undefined;
  const imagePath = await createBareImage({ folder, name: `disk-${index}`, sizeBytes: world.diskBytes });
  const served: BareExport = await startBareExport(imagePath, port);
  try {
    await copyBare(sourcePath, served.uri);
  } finally {
    await stopBareExport(served);
  }
};

/** The same copies as the hub's, down to images that can be trusted: each export has flushed and ended in order. */
const runScript = async (world: LabWorld, script: Script): Promise<number> => {
  const folder = join(world.scratch, 'bare');
  await mkdir(folder);
  try {
    return await timed(async () => {
      const copies = world.vm.disks.map((_, index) => () => copyDisk(world, index, script, folder));
      if (script.order === 'in turn') for (const copy of copies) await copy();
      else await Promise.all(copies.map((copy) => copy()));
    });
  } finally {
    await rm(folder, { recursive: true });
  }
};

const runCp = async (world: LabWorld): Promise<number> => {
  const copies = world.vm.disks.map((_, index) => join(world.scratch, `copy-${index}.raw`));
  try {
    return await timed(async () => {
      for (const [index, disk] of world.vm.disks.entries())
        await execa('cp', ['--sparse=always', '--reflink=never', disk, copies[index] ?? '']);
      await execa('sync', copies);
    });
  } finally {
    for (const copy of copies) await rm(copy, { force: true });
  }
};

const scripts: readonly Script[] = [
  { order: 'side by side', transport: 'unix' },
  { order: 'in turn', transport: 'unix' },
  { order: 'side by side', transport: 'tcp' },
  { order: 'in turn', transport: 'tcp' },
];

/** The hub has to stand up to the best way of doing it without a hub, whichever that is on this machine. */
const findFastest = async (world: LabWorld, bench: Bench): Promise<Script> => {
  const contenders = Object.fromEntries(
    scripts.map((script) => [
      nameOf(script),
      async () => {
        await world.prepare(world.dataBytes);
        return runScript(world, script);
      },
    ]),
  );
  const samples = await alternate(bench.quick ? 1 : 2, contenders, bench);
  const medianOf = (script: Script): number => spreadOf(samples[nameOf(script)] ?? []).median;
  const [fastest = scripts[0] as Script] = scripts.toSorted((a, b) => medianOf(a) - medianOf(b));
  bench.say(`the fastest is: ${nameOf(fastest)}`);
  return fastest;
};

const measure = async (world: LabWorld, bench: Bench): Promise<Outcome> => {
  const fastest = await findFastest(world, bench);
  const overTcp: Script = { ...fastest, transport: 'tcp' };
  const watched: Watched[] = [];
  const prepared = (work: () => Promise<number>) => async () => {
    await world.prepare(world.dataBytes);
    return work();
  };
  const samples = await alternate(
    bench.quick ? 2 : 7,
    {
      hub: prepared(async () => {
        const { backupId, tookMs, watched: job } = await world.backUp('full');
        watched.push(job);
        await world.remove(backupId);
        return tookMs;
      }),
      bare: prepared(() => runScript(world, fastest)),
      tcp: prepared(() => runScript(world, overTcp)),
      cp: prepared(() => runCp(world)),
    },
    bench,
  );
  const hub = { name: 'full backup, POST to completed', unit: 's', samples: seconds(samples.hub) };
  return {
    conditions: [
      `two raw disks of ${world.diskBytes / mib} MiB with ${Math.round(world.dataBytes / mib)} MiB of data: random, compressible, sparse`,
      `the fastest of four scripts is compared with: ${nameOf(fastest)}`,
    ],
    figures: [
      comparedFigure({ ...hub, limit }, { name: nameOf(fastest), samples: seconds(samples.bare) }),
      comparedFigure(hub, { name: nameOf(overTcp), samples: seconds(samples.tcp) }),
      comparedFigure(hub, { name: 'cp --sparse=always and fsync', samples: seconds(samples.cp) }),
    ],
    breakdowns: [
      breakDown('from the request to its answer', untilAnswered, watched.slice(1)),
      breakDown('from the request to the completed backup', untilCompleted, watched.slice(1)),
      nodeBreakDown(watched.slice(1)),
    ],
  };
};

export const fullBackup: Benchmark = {
  name: 'full-backup',
  run: async (bench) => {
    const sizes = bench.quick
      ? { diskBytes: 256 * mib, dataBytes: 96 * mib }
      : // Four fifths of it are written: the rest are holes.
        { diskBytes: 2048 * mib, dataBytes: 960 * mib };
    const world = await openLabWorld(bench, sizes);
    try {
      return await measure(world, bench);
    } finally {
      await world.close();
    }
  },
};
