import { setTimeout as delay } from 'node:timers/promises';
import type { Bench, Benchmark } from './benchmark.ts';
import { type Breakdown, type Figure, type Outcome, plainFigure, spreadOf } from './figures.ts';
import { type HeldBackWorld, openHeldBackWorld } from './held-back.ts';
import { eventStoreOf } from './hub-program.ts';
import { untilIdle } from './machine.ts';
import { type MemoryOf, memoryOfEach, watchMemory } from './memory.ts';

const mib = 1024 ** 2;
const readyLimitSeconds = 3;
const restLimitMib = 200;
const addedLimitMib = 100;
const startsAtOnce = 8;

type Sizes = Readonly<{ starts: number; jobs: number; everyMs: number; durationMs: number; restMs: number }>;

const sizesOf = ({ quick }: Bench): Sizes =>
  quick
    ? { starts: 1, jobs: 6, everyMs: 300, durationMs: 2_000, restMs: 1_000 }
    : { starts: 7, jobs: 100, everyMs: 500, durationMs: 20_000, restMs: 5_000 };

const vmNamesFor = ({ jobs }: Sizes): readonly string[] => Array.from({ length: jobs }, (_, index) => `bench-${index}`);

const restartOften = async (world: HeldBackWorld, starts: number, { say }: Bench): Promise<readonly number[]> => {
  const samples: number[] = [];
  for (let start = 0; start < starts; start += 1) {
    const tookMs = await world.restart();
    samples.push(tookMs / 1000);
    say(`start ${start + 1}/${starts}: ready after ${Math.round(tookMs)} ms`);
  }
  return samples;
};

const startAll = async (world: HeldBackWorld, vmNames: readonly string[]): Promise<readonly string[]> => {
  const queue = [...vmNames];
  const backupIds: string[] = [];
  const worker = async () => {
    for (let name = queue.shift(); name !== undefined; name = queue.shift())
      backupIds.push((await world.start(name)).backupId);
  };
  await Promise.all(Array.from({ length: startsAtOnce }, worker));
  return backupIds;
};

/** All jobs' clients report regularly, spread over time, until the signal. Returns how many reports there were. */
const reportAll = async (
  world: HeldBackWorld,
  backupIds: readonly string[],
  { everyMs }: Sizes,
  signal: AbortSignal,
): Promise<number> => {
  let reports = 0;
  const client = async (backupId: string, index: number) => {
    await delay((everyMs * index) / backupIds.length, undefined, { signal }).catch(() => undefined);
    for (let bytes = mib; !signal.aborted; bytes += mib) {
      const dueAtMs = performance.now() + everyMs;
      await world.report(backupId, bytes);
      reports += 1;
      await delay(Math.max(0, dueAtMs - performance.now()), undefined, { signal }).catch(() => undefined);
    }
  };
  await Promise.all(backupIds.map(client));
  return reports;
};

const processes = ['hub', 'event store'] as const;
type Memories = MemoryOf<(typeof processes)[number]>;

type Measured = Readonly<{
  starts: readonly number[];
  rest: readonly Memories[];
  busy: readonly Memories[];
  after: Memories;
  reports: number;
}>;

const measureMemory = async (world: HeldBackWorld, bench: Bench, sizes: Sizes): Promise<Omit<Measured, 'starts'>> => {
  const pids = { hub: world.running().program.pid, 'event store': (await eventStoreOf(bench.folder)).pid };
  await untilIdle(bench.signal);
  const rest = await watchMemory(pids, { everyMs: 500, durationMs: sizes.restMs }, bench.signal);
  const backupIds = await startAll(world, vmNamesFor(sizes));
  bench.say(`${backupIds.length} jobs are in flight`);
  const stop = new AbortController();
  const reporting = reportAll(world, backupIds, sizes, AbortSignal.any([stop.signal, bench.signal]));
  const busy = await watchMemory(pids, { everyMs: 500, durationMs: sizes.durationMs }, bench.signal).finally(() =>
    stop.abort(),
  );
  const reports = await reporting;
  await world.fail(backupIds);
  await untilIdle(bench.signal);
  return { rest, busy, reports, after: await memoryOfEach(pids) };
};

const kinds = { rss: 'VmRSS', pss: 'Pss' } as const;
type Kind = keyof typeof kinds;

const allOf = (memories: Memories, kind: Kind): number =>
  processes.reduce((sum, process) => sum + memories[process][kind], 0);

const memoryFigures = ({ rest, busy, after }: Measured, kind: Kind): readonly Figure[] => {
  const atRest = plainFigure({
    ...{ name: `memory at rest, hub and event store, ${kinds[kind]}`, unit: 'MiB', limit: restLimitMib },
    samples: rest.map((memories) => allOf(memories, kind)),
  });
  const most = Math.max(...busy.map((memories) => allOf(memories, kind)));
  return [
    atRest,
    plainFigure({
      ...{ name: `memory that the jobs in flight add at most, ${kinds[kind]}`, unit: 'MiB', limit: addedLimitMib },
      samples: [most - atRest.measured.median],
    }),
    plainFigure({
      ...{ name: `memory when they have ended, above rest, ${kinds[kind]}`, unit: 'MiB' },
      samples: [allOf(after, kind) - atRest.measured.median],
    }),
  ];
};

/** The other figures in parts: whose memory it is. */
const byProcess = ({ rest, busy, after }: Measured, kind: Kind): Breakdown => ({
  ...{ name: `${kinds[kind]} by process`, unit: 'MiB' },
  parts: processes.flatMap((process) => [
    { name: `${process}, at rest`, measured: spreadOf(rest.map((memories) => memories[process][kind])) },
    { name: `${process}, jobs in flight`, measured: spreadOf(busy.map((memories) => memories[process][kind])) },
    { name: `${process}, afterwards`, measured: spreadOf([after[process][kind]]) },
  ]),
});

const outcomeOf = (measured: Measured, sizes: Sizes): Outcome => ({
  conditions: [
    'embedded stores with some history; memory without PostgreSQL and without the programs that move data',
    `${sizes.jobs} jobs of one disk in flight, each reporting every ${sizes.everyMs} ms for ${sizes.durationMs / 1000} s: ${measured.reports} reports`,
  ],
  figures: [
    plainFigure({
      ...{ name: 'start on existing stores, until ready', unit: 's', limit: readyLimitSeconds },
      samples: measured.starts,
    }),
    ...memoryFigures(measured, 'rss'),
    ...memoryFigures(measured, 'pss'),
  ],
  breakdowns: [byProcess(measured, 'rss'), byProcess(measured, 'pss')],
});

export const hub: Benchmark = {
  name: 'hub',
  run: async (bench) => {
    const sizes = sizesOf(bench);
    const world = await openHeldBackWorld(bench, { vmNames: vmNamesFor(sizes), disks: 1, diskBytes: 64 * mib });
    try {
      const starts = await restartOften(world, sizes.starts, bench);
      return outcomeOf({ starts, ...(await measureMemory(world, bench, sizes)) }, sizes);
    } finally {
      await world.close();
    }
  },
};
