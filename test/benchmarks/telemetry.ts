import { join } from 'node:path';
import { ANY, EventStoreDBClient, jsonEvent } from '@eventstore/db-client';
import { superviseEventStore } from '#infra/embedded-event-store/supervise.ts';
import { createLogger } from '#infra/logger.ts';
import { alternate, type Bench, type Benchmark } from './benchmark.ts';
import { comparedFigure, type Outcome } from './figures.ts';
import { type HeldBackWorld, openHeldBackWorld } from './held-back.ts';
import { untilIdle } from './machine.ts';
import { rateOf } from './rate.ts';

const mib = 1024 ** 2;
const concurrency = 16;
const vmNames = Array.from({ length: concurrency }, (_, index) => `bench-${index}`);

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
        return rateOf(concurrency, durationMs, (worker) => {
          bytes += 1;
          return world.report(backupIds[worker] ?? '', bytes);
        });
      },
      appends: async () => {
        await untilIdle(bench.signal);
        return rateOf(concurrency, durationMs, (worker) =>
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
        { name: 'bare appends to an embedded event store', samples: samples.appends },
      ),
    ],
  };
};

/** A store of its own: what the hub would have to read of bare appends would burden its next sample. */
const openBareStore = async ({ folder, signal }: Bench) => {
  const log = createLogger({ level: 'silent' });
  const store = await superviseEventStore({ dataDir: join(folder, 'bare-event-store'), log, signal });
  const client = EventStoreDBClient.connectionString`${store.connectionString}`;
  const close = async () => {
    await client.dispose();
    await store.stop();
  };
  return { client, close };
};

export const telemetry: Benchmark = {
  name: 'telemetry',
  run: async (bench) => {
    const world = await openHeldBackWorld(bench, { vmNames, disks: 1, diskBytes: 64 * mib });
    try {
      const { client, close } = await openBareStore(bench);
      try {
        return await measure(world, client, bench);
      } finally {
        await close();
      }
    } finally {
      await world.close();
    }
  },
};
