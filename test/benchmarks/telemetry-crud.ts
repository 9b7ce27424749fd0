import { join } from 'node:path';
import { startEmbeddedPostgres } from '#infra/embedded-postgres/embedded-postgres.ts';
import { createLogger } from '#infra/logger.ts';
import { alternate, type Bench, type Benchmark } from './benchmark.ts';
import { startCrudServer } from './crud-telemetry.ts';
import { comparedFigure, type Outcome } from './figures.ts';
import { type HeldBackWorld, openHeldBackWorld } from './held-back.ts';
import { untilIdle } from './machine.ts';
import { rateOf } from './rate.ts';

const mib = 1024 ** 2;
const concurrency = 16;
const vmNames = Array.from({ length: concurrency }, (_, index) => `bench-${index}`);

/** A server beside the hub's, of the same kind and with the same settings, all its own: nothing else burdens it. */
const openCrud = async ({ folder, signal }: Bench, jobIds: readonly string[]) => {
  const log = createLogger({ level: 'silent' });
  const postgres = await startEmbeddedPostgres({ dataDir: join(folder, 'crud-postgres'), log }, signal);
  const server = await startCrudServer({ connection: { ...postgres.connection }, jobIds });
  const close = async (): Promise<void> => {
    await server.close();
    await postgres.stop();
  };
  return { url: server.url, close };
};

const secondsEach = (rates: readonly number[]): readonly number[] => rates.map((rate) => 1_000_000 / rate);

const measure = async (world: HeldBackWorld, bench: Bench): Promise<Outcome> => {
  const backupIds: string[] = [];
  for (const name of vmNames) backupIds.push((await world.start(name)).backupId);
  const crud = await openCrud(bench, backupIds);
  const durationMs = bench.quick ? 500 : 5_000;
  let bytes = mib;
  const rate = async (report: (backupId: string) => Promise<void>): Promise<number> => {
    await untilIdle(bench.signal);
    return rateOf(concurrency, durationMs, (worker) => report(backupIds[worker] ?? ''));
  };
  const reportTo = (report: HeldBackWorld['report']) => (backupId: string) => {
    bytes += 1;
    return report(backupId, bytes);
  };
  try {
    const samples = await alternate(
      bench.quick ? 1 : 5,
      {
        events: () => rate(reportTo(world.report)),
        crud: () => rate(reportTo((backupId, bytesNow) => world.reportTo(crud.url, backupId, bytesNow))),
      },
      bench,
    );
    await world.fail(backupIds);
    return {
      conditions: [
        `${concurrency} posts under way all the time, for ${concurrency} jobs; ours keep every report, the other one the last`,
        'an express handler which checks the same schema and updates the rows of job and disk in one transaction',
      ],
      figures: [
        comparedFigure(
          { name: 'telemetry post, time each', unit: 'µs', samples: secondsEach(samples.events), limit: 1 },
          { name: 'an express handler with UPDATE in PostgreSQL', samples: secondsEach(samples.crud) },
        ),
      ],
    };
  } finally {
    await crud.close();
  }
};

export const telemetryCrud: Benchmark = {
  name: 'telemetry-crud',
  run: async (bench) => {
    const world = await openHeldBackWorld(bench, { vmNames, disks: 1, diskBytes: 64 * mib });
    try {
      return await measure(world, bench);
    } finally {
      await world.close();
    }
  },
};
