import { join } from 'node:path';
import { alternate, type Bench } from './benchmark.ts';
import {
  appendOne,
  type BareGrpc,
  openBareFile,
  openBareGrpc,
  openMemoryStore,
  openStore,
  readAllTime,
  type Store,
  seed,
  subscribeTime,
} from './event-store-lab.ts';
import { comparedFigure, type Outcome } from './figures.ts';
import { untilIdle } from './machine.ts';
import { rateOf } from './rate.ts';

const manyWriters = 64;
// Of the time for each event: at least 6 times as many a second, at least 60 % as many.
const limits = { manyAgainstOne: 0.166, againstMemory: 1.66, oneAgainstBare: 1.6, readAgainstBare: 1.66 };

type Lab = Readonly<{ disk: Store; memory: Store; bare: BareGrpc; writeAndSync: () => void }>;

/** Microseconds that each takes, with so many under way all the time. */
const timeEach = async (workers: number, durationMs: number, once: (worker: number) => Promise<unknown>) =>
  1e6 / (await rateOf(workers, durationMs, once));

const measure = async ({ disk, memory, bare, writeAndSync }: Lab, bench: Bench): Promise<Outcome> => {
  // Long enough that what the first second costs, in either program, weighs little.
  const durationMs = bench.quick ? 200 : 4000;
  const count = bench.quick ? 2000 : 40_000;
  bench.say(`${count} events to read`);
  await seed(disk, count);
  const idle = async (): Promise<void> => {
    if (!bench.quick) await untilIdle(bench.signal);
  };
  const readTime = async (read: () => Promise<number>): Promise<number> => ((await read()) * 1000) / count;
  const rounds = bench.quick ? 1 : 5;
  const appends = await alternate(
    rounds,
    {
      one: async () => {
        await idle();
        return timeEach(1, durationMs, () => appendOne(disk, 0));
      },
      sync: () => timeEach(1, durationMs / 2, async () => writeAndSync()),
      call: () => timeEach(1, durationMs / 2, bare.empty),
      many: () => timeEach(manyWriters, durationMs, (writer) => appendOne(disk, writer)),
      memory: () => timeEach(manyWriters, durationMs, (writer) => appendOne(memory, writer)),
    },
    bench,
  );
  // By themselves: messages of other kinds make the client slower at those that it has learnt to take apart.
  const reads = await alternate(
    rounds,
    {
      all: async () => {
        await idle();
        return readTime(() => readAllTime(disk, count));
      },
      subscription: () => readTime(() => subscribeTime(disk, count)),
      stream: () => readTime(() => bare.repeat(count)),
    },
    bench,
  );
  const unit = 'µs';
  const stream = { name: 'a bare gRPC stream of equal messages', samples: reads.stream };
  const bareOne = appends.sync.map((sync, round) => sync + (appends.call[round] ?? Number.NaN));
  return {
    conditions: [
      'one event of about 300 bytes an append; times are for each event, through the gRPC client, synced before the answer',
      `reads of ${count} events`,
    ],
    figures: [
      comparedFigure(
        { name: 'append, one writer', unit, samples: appends.one, limit: limits.oneAgainstBare },
        { name: 'write and fsync of the same bytes, and an empty gRPC call', samples: bareOne },
      ),
      comparedFigure(
        { name: `append, ${manyWriters} writers`, unit, samples: appends.many, limit: limits.manyAgainstOne },
        { name: 'one writer', samples: appends.one },
      ),
      comparedFigure(
        { name: `append, ${manyWriters} writers, on disk`, unit, samples: appends.many, limit: limits.againstMemory },
        { name: 'the same server with its files in memory', samples: appends.memory },
      ),
      comparedFigure({ name: 'read of $all', unit, samples: reads.all, limit: limits.readAgainstBare }, stream),
      comparedFigure(
        {
          name: 'subscription to $all from its start',
          unit,
          samples: reads.subscription,
          limit: limits.readAgainstBare,
        },
        stream,
      ),
    ],
  };
};

/** All of it in this process, which should have loaded as little else as a client's program has. */
export const measureEventStore = async (bench: Bench): Promise<Outcome> => {
  await using closing = new AsyncDisposableStack();
  const disk = await openStore(join(bench.folder, 'event-store'), bench.signal);
  closing.defer(disk.close);
  const memory = await openMemoryStore(bench.signal);
  closing.defer(memory.close);
  const bare = await openBareGrpc();
  closing.defer(bare.close);
  const { writeAndSync, close } = openBareFile(bench.folder);
  closing.defer(close);
  return await measure({ disk, memory, bare, writeAndSync }, bench);
};
