import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { sql } from 'kysely';
import type { NbdPortsEvent } from '#domain/nbd-ports/nbd-ports.ts';
import { streamOf } from '#domain/streams.ts';
import type { Database } from '#infra/postgres/database.ts';
import { readCheckpoints } from '#projections/apply.ts';
import { liveGenerations } from '#projections/generation.ts';
import { nbdProjection } from '#projections/nbd.ts';
import type { SourceEvents } from '#projections/ports.ts';
import { type AnyProjection, anyProjection, type Projection } from '#projections/projection.ts';
import { runProjections } from '#projections/run.ts';
import { at } from '../support/backup-facts.ts';
import { context } from '../support/backup-world.ts';
import { eventually } from '../support/eventually.ts';
import { createFakeEventStore } from '../support/fake-event-store.ts';
import { eachWithDatabase } from '../support/postgres.ts';
import { applyTo, logOf } from '../support/projected.ts';

let database: Database;

eachWithDatabase((fresh) => {
  database = fresh;
});

const allocated = (port: number): NbdPortsEvent => ({
  type: 'NbdPortsAllocated',
  data: { leases: [{ port, jobId: 'job-a', exportName: 'x', allocatedAt: at(), expiresAt: at(1) }] },
});

/** Counts events: a row that tells when one was applied twice or never. */
const counting = (name: string, fails: () => boolean = () => false): AnyProjection =>
  anyProjection({
    name,
    tables: {
      backup_counters: ['create table if not exists backup_counters (name text primary key, last bigint not null)'],
    },
    on: {
      NbdPortsAllocated: (_, db) => [
        db
          .insertInto('backup_counters')
          .values({ name, last: 1 })
          .onConflict((conflict) => conflict.column('name').doUpdateSet({ last: sql`backup_counters.last + 1` })),
        // A table that is gone is nobody's event's fault.
        ...(fails() ? [{ compile: () => sql`insert into no_such_table values (1)`.compile(db) }] : []),
      ],
    },
  } satisfies Projection<Extract<NbdPortsEvent, { type: 'NbdPortsAllocated' }>>);

const count = async (name: string): Promise<number> =>
  (await database.readModel.selectFrom('backup_counters').selectAll().where('name', '=', name).executeTakeFirst())
    ?.last ?? 0;

const positionOf = async (projection: AnyProjection) =>
  [...(await readCheckpoints(database.readModel, liveGenerations([projection]))).values()][0];

const apply = (projections: readonly AnyProjection[], events: SourceEvents) =>
  applyTo(database.readModel, projections, events);

const batch = (...ports: readonly number[]) => {
  const events = logOf(ports.map(allocated));
  return { events, position: BigInt(events.length) };
};

describe('a batch of events', () => {
  test('is applied with its checkpoint', async () => {
    const counter = counting('a');
    assert.equal(await positionOf(counter), 0n);
    await apply([counter], batch(1, 2, 3));
    assert.deepEqual([await count('a'), await positionOf(counter)], [3, 3n]);
  });

  test('is applied once, although it comes many times at once', async () => {
    const counter = counting('a');
    await Promise.all([1, 2, 3, 4].map(() => apply([counter], batch(1, 2))));
    assert.deepEqual([await count('a'), await positionOf(counter)], [2, 2n]);
  });

  test('that overlaps what was seen adds only what is new, and never moves the checkpoint back', async () => {
    const counter = counting('a');
    await apply([counter], batch(1, 2, 3));
    await apply([counter], batch(1, 2, 3, 4));
    await apply([counter], batch(1));
    assert.deepEqual([await count('a'), await positionOf(counter)], [4, 4n]);
  });

  test('is told to each projection from where that one is', async () => {
    const [old, young] = [counting('old'), counting('young')];
    await apply([old], batch(1, 2));
    await apply([old, young], batch(1, 2, 3));
    assert.deepEqual([await count('old'), await count('young')], [3, 3]);
  });

  test('that fails in one statement leaves neither rows nor checkpoint, of any projection', async () => {
    const failing = counting('b', () => true);
    const both = [counting('a'), failing];
    await assert.rejects(apply(both, batch(1)), /no_such_table/);
    assert.deepEqual([await count('a'), await count('b'), await positionOf(failing)], [0, 0, 0n]);
  });

  test('without anything of interest moves the checkpoint only', async () => {
    const counter = counting('a');
    await apply([counter], { events: [], position: 18_446_744_073_709_551_615n });
    assert.deepEqual([await count('a'), await positionOf(counter)], [0, 18_446_744_073_709_551_615n]);
  });
});

describe('the runner of projections', () => {
  const fill = async (store = createFakeEventStore(), ports = 3) => {
    const stream = streamOf.nbdPorts('hub-1');
    const { revision } = await store.read(stream);
    const events = Array.from({ length: ports }, (_, index) => allocated(Number(revision) + 10_101 + index));
    const { position } = await store.append(stream, events, revision, context());
    return { store, position };
  };
  const run = (
    t: TestContext,
    store: ReturnType<typeof createFakeEventStore>,
    projections: readonly AnyProjection[],
  ) => {
    const stop = new AbortController();
    const problems: unknown[] = [];
    const applied: bigint[] = [];
    const runner = runProjections(
      {
        ...{ source: store.feed, readStream: store.readStream, db: database.readModel, projections },
        onProblem: (problem) => problems.push(problem),
        onApplied: ({ position }) => applied.push(position),
      },
      stop.signal,
    );
    const end = async () => {
      stop.abort();
      await runner.done;
    };
    t.after(end);
    return { runner, problems, applied, end };
  };

  test('catches up, then follows, and tells when a position is in the tables', async (t) => {
    const { store, position } = await fill();
    const { runner, applied } = run(t, store, [counting('a')]);
    await runner.caughtUp;
    assert.deepEqual([await count('a'), runner.status().position, runner.status().caughtUp], [3, position, true]);
    const next = await fill(store, 1);
    assert.equal(await runner.waitFor(next.position, 5000), true);
    assert.equal(await count('a'), 4);
    assert.equal(await runner.waitFor(next.position + 1n, 5), false);
    assert.equal(await runner.waitFor(position, 0), true);
    assert.equal(applied.length, 4);
    assert.notEqual(runner.status().appliedEventAt, null);
  });

  test('goes on from its checkpoint after a restart', async (t) => {
    const { store, position } = await fill();
    const first = run(t, store, [counting('a')]);
    await first.runner.waitFor(position, 5000);
    await first.end();
    const next = await fill(store, 2);
    const second = run(t, store, [counting('a')]);
    assert.equal(await second.runner.waitFor(next.position, 5000), true);
    assert.deepEqual([await count('a'), second.applied.length], [5, 2]);
  });

  test('is harmless beside a second one on the same tables', async (t) => {
    const { store } = await fill();
    const runners = [run(t, store, [counting('a')]), run(t, store, [counting('a')])];
    for (let round = 0; round < 20; round += 1) await fill(store, 1);
    const { position } = await fill(store, 1);
    for (const { runner } of runners) assert.equal(await runner.waitFor(position, 10_000), true);
    assert.equal(await count('a'), 24);
  });

  test('says why it does not get on, tries again, and skips nothing', async (t) => {
    const { store, position } = await fill();
    let broken = true;
    const { runner, problems } = run(t, store, [counting('a', () => broken)]);
    await eventually('it met the trouble', () => runner.status().problem !== null);
    assert.deepEqual([runner.status().caughtUp, await count('a')], [false, 0]);
    assert.match(runner.status().problem ?? '', /no_such_table/);
    broken = false;
    assert.equal(await runner.waitFor(position, 10_000), true);
    await eventually('the trouble is over', () => runner.status().problem === null);
    assert.equal(await count('a'), 3);
    assert.ok(problems.length > 0);
  });

  test('builds the tables of a real projection from an empty database', async (t) => {
    const { store, position } = await fill(undefined, 30);
    const { runner } = run(t, store, [anyProjection(nbdProjection)]);
    assert.equal(await runner.waitFor(position, 10_000), true);
    const rows = await database.readModel.selectFrom('nbd_port_allocations').select('port').execute();
    assert.equal(new Set(rows.map(({ port }) => port)).size, 30);
  });
});
