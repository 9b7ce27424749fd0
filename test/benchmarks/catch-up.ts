import { join } from 'node:path';
import { EventStoreDBClient } from '@eventstore/db-client';
import pg from 'pg';
import { superviseEventStore } from '#infra/embedded-event-store/supervise.ts';
import { startEmbeddedPostgres } from '#infra/embedded-postgres/embedded-postgres.ts';
import { createEventFeed } from '#infra/event-store/event-feed.ts';
import { createStreamReader } from '#infra/event-store/stream-reader.ts';
import { createLogger } from '#infra/logger.ts';
import { type Database, openDatabase } from '#infra/postgres/database.ts';
import { applyBatch } from '#projections/apply.ts';
import { noDecisions } from '#projections/decisions.ts';
import { liveGenerations } from '#projections/generation.ts';
import { PreparedStatements } from '#projections/prepared.ts';
import { runProjections } from '#projections/run.ts';
import { upcast } from '../../src/composition/event-registry.ts';
import { projections } from '../../src/composition/read-model.ts';
import { growLog } from './backup-log.ts';
import type { Bench, Benchmark } from './benchmark.ts';
import { type Outcome, plainFigure } from './figures.ts';

const sizesOf = ({ quick }: Bench) => (quick ? { small: 3_000, sample: 200 } : { small: 100_000, sample: 3_000 });

const times = { larger: 10, longer: 11, fasterThanEach: 3 };
/** What a garbage collector leaves lying about differs by so much from one look to the next. */
const memoryLimit = 1.5;

const openStores = async ({ folder, signal }: Bench) => {
  const log = createLogger({ level: 'silent' });
  const [events, postgres] = await Promise.all([
    superviseEventStore({ dataDir: join(folder, 'events'), log, signal }),
    startEmbeddedPostgres({ dataDir: join(folder, 'postgres'), log }, signal),
  ]);
  const client = EventStoreDBClient.connectionString`${events.connectionString}`;
  const close = async (): Promise<void> => {
    await client.dispose();
    await Promise.all([events.stop(), postgres.stop()]);
  };
  return { client, connection: postgres.connection, close };
};
type Stores = Awaited<ReturnType<typeof openStores>>;

/** Empty tables. */
const openFresh = async ({ connection }: Stores, name: string): Promise<Database> => {
  const admin = new pg.Client(connection);
  await admin.connect();
  await admin.query(`create database ${name}`);
  await admin.end();
  return openDatabase({ ...connection, database: name }, projections);
};

const sourceOf = ({ client }: Stores) => ({
  source: createEventFeed({ client, upcast }),
  readStream: createStreamReader({ client, upcast }),
});

type CaughtUp = Readonly<{ seconds: number; memoryMib: readonly number[] }>;

/** All read models together, as a hub does it that finds empty tables. */
const catchUp = async (stores: Stores, events: number, bench: Bench): Promise<CaughtUp> => {
  const database = await openFresh(stores, `catch_up_${events}`);
  const stop = new AbortController();
  const { promise: failed, reject } = Promise.withResolvers<never>();
  let applied = 0;
  const memoryMib: number[] = [];
  const startedAtMs = performance.now();
  const onApplied = (): void => {
    applied += 1;
    if (applied % Math.ceil(events / 10) !== 0) return;
    bench.say(`${applied} of ${events} events, ${((performance.now() - startedAtMs) / 1000).toFixed(1)} s`);
    memoryMib.push(process.memoryUsage().rss / 1024 ** 2);
  };
  const runner = runProjections(
    { ...sourceOf(stores), db: database.readModel, projections, onProblem: reject, onApplied },
    AbortSignal.any([stop.signal, bench.signal]),
  );
  try {
    await Promise.race([runner.caughtUp, failed]);
    return { seconds: (performance.now() - startedAtMs) / 1000, memoryMib };
  } finally {
    stop.abort();
    await runner.done;
    await database.close();
  }
};

/** The same code, told one event at a time, each in a transaction of its own. Returns seconds. */
const applyOneByOne = async (stores: Stores, events: number): Promise<number> => {
  const database = await openFresh(stores, 'one_by_one');
  const { source, readStream } = sourceOf(stores);
  const stop = new AbortController();
  const generations = liveGenerations(projections);
  const target = {
    db: database.readModel,
    generations,
    readStream,
    decisions: noDecisions,
    prepared: new PreparedStatements(),
  };
  let seconds = 0;
  let applied = 0;
  try {
    for await (const item of source.subscribe(0n, { maxBatch: 500 }, stop.signal)) {
      if (item.kind === 'caught-up' || applied >= events) break;
      for (const event of item.events.slice(0, events - applied)) {
        const startedAtMs = performance.now();
        await applyBatch(target, { events: [event], position: event.position });
        seconds += (performance.now() - startedAtMs) / 1000;
        applied += 1;
      }
    }
    return (seconds / applied) * events;
  } finally {
    stop.abort();
    await database.close();
  }
};

const measure = async (stores: Stores, bench: Bench): Promise<Outcome> => {
  const sizes = sizesOf(bench);
  const { sample } = sizes;
  const tell = (done: number): void => bench.say(`${done} events appended`);
  const first = await growLog(stores.client, { events: sizes.small, firstJob: 0 }, tell);
  const small = first.events;
  const shorter = await catchUp(stores, small, bench);
  const each = await applyOneByOne(stores, sample);
  const more = await growLog(stores.client, { events: small * times.larger - small, firstJob: first.nextJob }, tell);
  const large = small + more.events;
  const longer = await catchUp(stores, large, bench);
  const early = Math.max(...longer.memoryMib.slice(0, 3));
  return {
    conditions: [
      `${projections.length} read models in one pass over backups of two disks, each with its reports; embedded stores`,
      `${Math.round(small / shorter.seconds)} events a second over ${small}, ${Math.round(large / longer.seconds)} over ${large}`,
      `one transaction an event: ${Math.round(sample / each)} events a second, from a sample of ${sample}`,
    ],
    figures: [
      plainFigure({
        ...{ name: `time for ${times.larger} times the events, in times`, unit: '', limit: times.longer },
        samples: [longer.seconds / shorter.seconds],
      }),
      plainFigure({
        ...{ name: 'time an event against one transaction an event', unit: '', limit: 1 / times.fasterThanEach },
        samples: [longer.seconds / large / (each / sample)],
      }),
      plainFigure({
        ...{ name: 'memory at the end against the first third', unit: '', limit: memoryLimit },
        samples: [(longer.memoryMib.at(-1) ?? 0) / early],
      }),
      plainFigure({ name: 'memory of the program that applies', unit: 'MiB', samples: longer.memoryMib }),
    ],
  };
};

export const catchUpBenchmark: Benchmark = {
  name: 'catch-up',
  run: async (bench) => {
    const stores = await openStores(bench);
    try {
      return await measure(stores, bench);
    } finally {
      await stores.close();
    }
  },
};
