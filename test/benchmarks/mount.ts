import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import { z } from 'zod';
import { eventually } from '../support/eventually.ts';
import { makePartitionedDisk, mountForWriting, type PartitionSpec, type Stretch } from '../support/partitioned-disk.ts';
import { alternate, type Bench, type Benchmark } from './benchmark.ts';
import { comparedFigure, type Outcome, plainFigure } from './figures.ts';
import { type LabWorld, openLabWorld } from './lab-world.ts';
import { timed, untilIdle } from './machine.ts';

const mib = 1024 ** 2;
const ratioLimit = 1.5;
const beyondLimitMs = 50;
const limitMs = 500;

const partitions = (quick: boolean): readonly PartitionSpec[] => {
  const size = quick ? 320 : 30 * 1024;
  return [
    { kind: 'ext4', sizeMib: size, label: 'system' },
    { kind: 'xfs', sizeMib: size, label: 'data' },
    { kind: 'ntfs', sizeMib: size, label: 'exchange' },
  ];
};

const run = (program: string, args: readonly string[]) => execa(program, args, { stdin: 'ignore' });

const Table = z.object({
  partitiontable: z.object({ partitions: z.array(z.object({ start: z.number(), size: z.number() })) }),
});

type Bare = Readonly<{ loops: string[]; points: string[]; server: ReturnType<typeof spawn> }>;

const serve = async (folder: string, image: string, disk: string): Promise<ReturnType<typeof spawn>> => {
  const overlay = join(folder, 'overlay.qcow2');
  const pidFile = join(folder, 'pid');
  await run('qemu-img', ['create', '-q', '-f', 'qcow2', '-b', image, '-F', 'qcow2', overlay]);
  await writeFile(disk, '');
  const server = spawn(
    'qemu-storage-daemon',
    [
      ...['--blockdev', `driver=qcow2,node-name=disk,file.driver=file,file.filename=${overlay}`],
      ...['--export', `type=fuse,id=disk,node-name=disk,mountpoint=${disk},writable=on`, '--pidfile', pidFile],
    ],
    { stdio: 'ignore' },
  );
  await eventually('the disk is shown', async () => (await stat(pidFile).catch(() => undefined)) !== undefined);
  return server;
};

/** What an administrator would type, in turn: the disk as a file, its table, and for each partition its type and its mount. */
const mountBare = async (folder: string, image: string): Promise<Bare> => {
  const disk = join(folder, 'disk');
  const server = await serve(folder, image, disk);
  const { stdout } = await run('sfdisk', ['--json', disk]);
  const loops: string[] = [];
  const points: string[] = [];
  for (const [index, { start, size }] of Table.parse(JSON.parse(stdout)).partitiontable.partitions.entries()) {
    const place = [`${start * 512}`, `${size * 512}`] as const;
    const type = (await run('blkid', ['-p', '-o', 'value', '-s', 'TYPE', '-O', place[0], '-S', place[1], disk])).stdout;
    const loop = (await run('losetup', ['-f', '--show', '-o', place[0], '--sizelimit', place[1], disk])).stdout;
    const point = join(folder, `partition-${index}`);
    await mkdir(point);
    if (type === 'ntfs') await run('ntfs-3g', ['-o', 'ro', loop, point]);
    else await run('mount', ['-t', type, '-o', type === 'xfs' ? 'ro,nouuid' : 'ro', loop, point]);
    loops.push(loop);
    points.push(point);
  }
  return { loops, points, server };
};

const unmountBare = async ({ loops, points, server }: Bare): Promise<void> => {
  for (const point of points) await run('umount', [point]);
  for (const loop of loops) await run('losetup', ['--detach', loop]);
  const ended = once(server, 'exit');
  server.kill();
  await ended;
};

const Mount = z.object({ mount_id: z.string(), status: z.literal('mounted'), partition_metadata: z.string() });

/** A full backup and two increments, each with something new in the first filesystem. */
const makeChain = async (world: LabWorld, [first]: readonly Stretch[]) => {
  let newest = await world.backUp('full');
  for (const name of ['one', 'two']) {
    const inUse = await mountForWriting(world.vm.disks[0] ?? '', first as Stretch, 'ext4');
    await writeFile(join(inUse.folder, name), name.repeat(10_000));
    await inUse.unmount();
    await world.tracked();
    newest = await world.backUp('incremental');
  }
  return newest;
};

const measure = async (world: LabWorld, places: readonly Stretch[], bench: Bench): Promise<Outcome> => {
  const { api } = world.hub;
  const newest = await makeChain(world, places);
  const image = newest.images[0] ?? '';
  const samples = await alternate(
    bench.quick ? 2 : 11,
    {
      hub: async () => {
        await untilIdle(bench.signal);
        const body = { backup_id: newest.backupId, disk_index: 0 };
        const { value, tookMs } = await answered(() => api.call('POST /restore/mount', body, Mount));
        const shown = JSON.parse(value.partition_metadata).partitions.length;
        if (shown !== 3) throw new Error(`${shown} partitions are mounted: ${value.partition_metadata}`);
        await api.call(`DELETE /restore/${value.mount_id}`, undefined, z.object({}));
        return tookMs;
      },
      bare: async () => {
        await untilIdle(bench.signal);
        const folder = join(world.scratch, 'bare');
        await mkdir(folder);
        const { value, tookMs } = await answered(() => mountBare(folder, image));
        await unmountBare(value);
        await rm(folder, { recursive: true });
        return tookMs;
      },
    },
    bench,
  );
  const beyond = samples.hub.map((tookMs, round) => tookMs - ratioLimit * (samples.bare[round] ?? Number.NaN));
  return {
    conditions: [
      'a sparse disk of 100 GiB with ext4, xfs and NTFS, in a chain of three images; the journals are clean',
      'the bare commands make the overlay, serve the disk, read its table and mount, in turn',
    ],
    figures: [
      comparedFigure(
        { name: 'POST /restore/mount until its answer', unit: 'ms', samples: samples.hub },
        { name: 'the bare commands', samples: samples.bare },
      ),
      plainFigure({
        ...{ name: `the same, beyond ${ratioLimit} times the bare commands`, unit: 'ms' },
        ...{ samples: beyond, limit: beyondLimitMs },
      }),
      plainFigure({ name: 'the same, alone', unit: 'ms', samples: samples.hub, limit: limitMs }),
    ],
  };
};

const answered = async <T>(work: () => Promise<T>): Promise<Readonly<{ value: T; tookMs: number }>> => {
  let value: T | undefined;
  const tookMs = await timed(async () => {
    value = await work();
  });
  return { value: value as T, tookMs };
};

export const mountBenchmark: Benchmark = {
  name: 'mount',
  run: async (bench) => {
    const diskMib = bench.quick ? 1024 : 100 * 1024;
    const world = await openLabWorld(bench, { diskBytes: diskMib * mib, dataBytes: 4 * mib });
    try {
      bench.say('making three filesystems');
      const made = join(world.scratch, 'made.raw');
      const places = await makePartitionedDisk(made, diskMib, 'gpt', partitions(bench.quick));
      await rename(made, world.vm.disks[0] ?? '');
      await world.tracked();
      return await measure(world, places, bench);
    } finally {
      await world.close();
    }
  },
};
