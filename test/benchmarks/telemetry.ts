import { ANY, EventStoreDBClient, jsonEvent } from '@eventstore/db-client';
import { alternate, type Bench, type Benchmark } from './benchmark.ts';
import { comparedFigure, type Outcome } from './figures.ts';
import { type HeldBackWorld, openHeldBackWorld } from './held-back.ts';
import { eventStoreOf } from './hub-program.ts';
import { untilIdle } from './machine.ts';

const mib = 1024 ** 2;
const concurrency = 16;
const vmNames = Array.from({ length: concurrency }, (_, index) => `bench-${index}`);

/** How many a second, with so many under way all the time. */
const rateOf = async (
  durationMs: number,
  once: (worker: number, count: number) => Promise<unknown>,
): Promise<number> => {
  const startedAtMs = performance.now();
  const until = startedAtMs + durationMs;
  let done = 0;
  const worker = async (_: string, index: number) => {
    for (let count = 1; performance.now() < until; count += 1) {
      await once(index, count);
      done += 1;
    }
  };
  await Promise.all(vmNames.map(worker));
  return (done / (performance.now() - startedAtMs)) * 1000;
};

const measure = async (world: HeldBackWorld, client: EventStoreDBClient, bench: Bench): Promise<Outcome> => {
  const backupIds: string[] = [];
  for (const name of vmNames) backupIds.push((await world.start(name)).backupId);
  const durationMs = bench.quick ? 500 : 5_000;
  let bytes = mib;
  const data = { phase: 'transferring', bytesTransferred: mib, totalBytes: 64 * mib, speedBps: 1, etaSeconds: 1 };
  const samples = await alternate(
    bench.quick ? 1 : 5,
    {
      posts: async () => {
        await untilIdle(bench.signal);
        return rateOf(durationMs, (worker) => {
          bytes += 1;
          return world.report(backupIds[worker] ?? '', bytes);
        });
      },
      appends: async () => {
        await untilIdle(bench.signal);
        return rateOf(durationMs, (worker) =>
          client.appendToStream(`benchmark-${worker}`, [jsonEvent({ type: 'BenchmarkEvent', data })], {
            expectedRevision: ANY,
          }),
        );
      },
    },
    bench,
  );
  await world.fail(backupIds);
  return {
    conditions: [
      `${concurrency} posts under way all the time, for ${concurrency} running jobs; each becomes an event on disk`,
    ],
    figures: [
      comparedFigure(
        { name: 'telemetry posts', unit: '/s', samples: samples.posts },
        { name: 'bare appends to the same event store', samples: samples.appends },
      ),
    ],
  };
};

export const telemetry: Benchmark = {
  name: 'telemetry',
  run: async (bench) => {
    const world = await openHeldBackWorld(bench, { vmNames, disks: 1, diskBytes: 64 * mib });
    try {
      const { connection } = await eventStoreOf(bench.folder);
      const client = EventStoreDBClient.connectionString`${connection}`;
      try {
        return await measure(world, client, bench);
      } finally {
        await client.dispose();
      }
    } finally {
      await world.close();
    }
  },
};
