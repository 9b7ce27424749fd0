import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, type TestContext, test } from 'node:test';
import { createRetryParkedStream, createSkipPoisonEvent } from '#commands/parked-streams.ts';
import type { NbdPortsEvent } from '#domain/nbd-ports/nbd-ports.ts';
import { streamOf } from '#domain/streams.ts';
import type { Database } from '#infra/postgres/database.ts';
import { parkedStreamQueries } from '#projections/parked-streams.ts';
import { type AnyProjection, anyProjection } from '#projections/projection.ts';
import { runProjections } from '#projections/run.ts';
import { at } from '../support/backup-facts.ts';
import { context } from '../support/backup-world.ts';
import { eventually } from '../support/eventually.ts';
import { createFakeEventStore } from '../support/fake-event-store.ts';
import { startPostgres, type TestPostgres } from '../support/postgres.ts';

let postgres: TestPostgres;
let database: Database;

before(async () => {
  postgres = await startPostgres();
});
after(() => postgres.stop());

type Fault = 'none' | 'throws' | 'constraint' | 'data';
/** By port: what is wrong with the event that allocates it. */
const faults = new Map<number, Fault>();

const portOf = (data: unknown): number => (data as { leases: readonly { port: number }[] }).leases[0]?.port ?? 0;

/** Appends each port to a list, so that the order in which events were applied can be told. */
const ports = anyProjection({
  name: 'ports.v1',
  tables: {
    nbd_port_allocations: [
      `create table nbd_port_allocations (storage_node text not null, port integer not null check (port < 100000),
        job_id text not null, export_name text not null, allocated_at timestamptz not null,
        expires_at timestamptz not null, primary key (storage_node, port))`,
    ],
    backup_counters: ['create table backup_counters (name text primary key, last bigint not null)'],
  },
  on: {
    NbdPortsAllocated: ({ data, stream }: { data: object; stream: string }, db: Database['readModel']) => {
      const port = portOf(data);
      const fault = faults.get(port) ?? 'none';
      if (fault === 'throws') throw new TypeError(`no idea what ${port} is`);
      const stored = fault === 'constraint' ? port + 100_000 : fault === 'data' ? 2 ** 40 : port;
      return [
        db
          .insertInto('backup_counters')
          .values({ name: 'n', last: 1 })
          .onConflict((c) => c.column('name').doUpdateSet((eb) => ({ last: eb('backup_counters.last', '+', 1) }))),
        db
          .insertInto('nbd_port_allocations')
          .columns(['storage_node', 'port', 'job_id', 'export_name', 'allocated_at', 'expires_at'])
          .expression(
            db
              .selectFrom('backup_counters')
              .select((eb) => [
                eb.val(stream).as('a'),
                eb.cast<number>(eb.val(stored), 'integer').as('b'),
                eb.cast<string>('last', 'text').as('c'),
                eb.val('x').as('d'),
                eb.cast<string>(eb.val(at()), 'timestamptz').as('e'),
                eb.cast<string>(eb.val(at()), 'timestamptz').as('f'),
              ]),
          ),
      ];
    },
  },
});

const other = anyProjection({
  name: 'other.v1',
  tables: {
    sessions: [
      'create table sessions (token_sha256 text, subject text, opened_at timestamptz, expires_at timestamptz)',
    ],
  },
  on: {
    NbdPortsAllocated: ({ data, stream }: { data: object; stream: string }, db: Database['readModel']) => [
      db
        .insertInto('sessions')
        .values({ token_sha256: stream, subject: `${portOf(data)}`, opened_at: at(), expires_at: at() }),
    ],
  },
});
const projections: readonly AnyProjection[] = [ports, other];

beforeEach(async () => {
  faults.clear();
  database = await postgres.fresh(projections);
});

const allocated = (port: number): NbdPortsEvent => ({
  type: 'NbdPortsAllocated',
  data: { leases: [{ port, jobId: 'job-a', exportName: 'x', allocatedAt: at(), expiresAt: at(1) }] },
});

type Store = ReturnType<typeof createFakeEventStore>;
const append = async (store: Store, node: string, ...numbers: readonly number[]): Promise<bigint> => {
  const stream = streamOf.nbdPorts(node);
  const { revision } = await store.read(stream);
  return (await store.append(stream, numbers.map(allocated), revision, context())).position;
};

const run = (t: TestContext, store: Store, db = database) => {
  const stop = new AbortController();
  const { feed: source, readStream } = store;
  const runner = runProjections(
    { source, readStream, db: db.readModel, projections, onProblem: () => undefined },
    stop.signal,
  );
  const end = async () => {
    stop.abort();
    await runner.done;
  };
  t.after(end);
  return { runner, end, passed: async (position: bigint) => assert.ok(await runner.waitFor(position, 10_000)) };
};

/** `node:port` in the order in which they were applied. */
const rows = async (db = database) =>
  (await db.readModel.selectFrom('nbd_port_allocations').selectAll().execute())
    .toSorted((a, b) => Number(a.job_id) - Number(b.job_id))
    .map(({ storage_node: stream, port }) => `${stream.replace('nbdPorts-', '')}:${port}`);
const parked = () => parkedStreamQueries(database.readModel, projections);
const subjects = async () =>
  (await database.readModel.selectFrom('sessions').select('subject').execute()).map(({ subject }) => subject);

const commands = (store: Store) => {
  const deps = { store, clock: { now: () => at() }, parked: parked().find };
  const place = { projection: 'ports.v1', stream: streamOf.nbdPorts('a') };
  return {
    retry: async () => (await createRetryParkedStream(deps)(place, context())).position ?? 0n,
    skip: async () => (await createSkipPoisonEvent(deps)(place, 'broken for good', context())).position ?? 0n,
  };
};

describe('an event that a projection cannot apply', () => {
  for (const fault of ['throws', 'constraint', 'data'] as const) {
    test(`(${fault}) parks its stream, for that projection; everything else goes on`, async (t) => {
      const store = createFakeEventStore();
      faults.set(2, fault);
      await append(store, 'a', 1, 2, 3);
      await append(store, 'b', 11, 12);
      const { passed, runner } = run(t, store);
      await passed(await append(store, 'a', 4));
      assert.equal(runner.status().problem, null);
      assert.deepEqual(await rows(), ['a:1', 'b:11', 'b:12']);
      assert.deepEqual(await subjects(), ['1', '2', '3', '11', '12', '4']);
      const [held, ...rest] = await parked().list();
      assert.deepEqual(rest, []);
      assert.deepEqual(
        [held?.projection, held?.stream, held?.revision, held?.eventType, held?.attempts, held?.waiting],
        ['ports.v1', 'nbdPorts-a', 1, 'NbdPortsAllocated', 1, 2],
      );
      assert.match(held?.error ?? '', fault === 'throws' ? /no idea what 2 is/ : /SQLSTATE 2[23]/);
      assert.deepEqual(
        await parked().counts(),
        new Map([
          ['ports.v1', 1],
          ['other.v1', 0],
        ]),
      );
    });
  }

  test('stays parked over a restart, and its stream goes on in order when a retry finds it mended', async (t) => {
    const store = createFakeEventStore();
    faults.set(2, 'throws');
    await append(store, 'a', 1, 2, 3);
    const first = run(t, store);
    await first.passed(await append(store, 'b', 11));
    await first.end();
    const second = run(t, store);
    await second.passed(await append(store, 'a', 4));
    assert.deepEqual(await rows(), ['a:1', 'b:11']);
    await second.passed(await commands(store).retry());
    assert.deepEqual(
      (await parked().list()).map(({ attempts, waiting }) => [attempts, waiting]),
      [[2, 2]],
    );
    faults.clear();
    await second.passed(await commands(store).retry());
    assert.deepEqual([await rows(), await parked().list()], [['a:1', 'b:11', 'a:2', 'a:3', 'a:4'], []]);
    await second.passed(await append(store, 'a', 5));
    assert.equal((await rows()).at(-1), 'a:5');
    await assert.rejects(commands(store).retry(), /has not parked/);
  });

  test('is left out when it is skipped; the next one that fails parks the rest again', async (t) => {
    const store = createFakeEventStore();
    faults.set(2, 'throws').set(4, 'constraint');
    const { passed } = run(t, store);
    await passed(await append(store, 'a', 1, 2, 3, 4, 5));
    await passed(await commands(store).skip());
    assert.deepEqual(await rows(), ['a:1', 'a:3']);
    assert.deepEqual(
      (await parked().list()).map(({ revision, waiting }) => [revision, waiting]),
      [[3, 1]],
    );
    await passed(await commands(store).skip());
    assert.deepEqual([await rows(), await parked().list()], [['a:1', 'a:3', 'a:5'], []]);
  });

  test('is treated the same by who builds the tables anew, mended or not', async (t) => {
    const store = createFakeEventStore();
    faults.set(2, 'throws').set(21, 'throws');
    const live = run(t, store);
    await live.passed(await append(store, 'a', 1, 2, 3));
    await live.passed(await append(store, 'b', 11));
    await live.passed(await commands(store).skip());
    await live.passed(await append(store, 'b', 12));
    const before = await rows();
    assert.deepEqual(before, ['a:1', 'b:11', 'a:3', 'b:12']);
    faults.clear();
    await live.end();
    database = await postgres.fresh(projections);
    await run(t, store).runner.caughtUp;
    assert.deepEqual([await rows(), await parked().list()], [before, []]);
  });

  test('is decided about once by several hubs on the same tables', async (t) => {
    const store = createFakeEventStore();
    faults.set(2, 'throws');
    await append(store, 'a', 1, 2, 3);
    const second = await postgres.again(projections);
    const hubs = [run(t, store), run(t, store, second)];
    const position = await append(store, 'b', 11);
    for (const hub of hubs) await hub.passed(position);
    assert.equal((await parked().list()).length, 1);
    const decided = await commands(store).skip();
    for (const hub of hubs) await hub.passed(decided);
    assert.deepEqual(await rows(), ['a:1', 'b:11', 'a:3']);
    for (const hub of hubs) await hub.end();
    await second.close();
  });

  test('that cannot even be read parks its stream too, and the stream goes on behind it when it is skipped', async (t) => {
    const store = createFakeEventStore();
    await append(store, 'a', 1, 2, 3);
    const unreadable = (position: bigint) => position === 200n;
    const { feed, readStream } = store;
    const record = (event: (typeof store.log)[number]) => ({
      ...{ type: event.event.type, id: event.id, stream: event.stream, revision: event.revision },
      ...{ position: event.position, recordedAt: event.recordedAt, problem: 'v2 is unknown to this version' },
    });
    const damaged: Store = {
      ...store,
      feed: {
        ...feed,
        async *subscribe(from, options, signal) {
          for await (const item of feed.subscribe(from, options, signal)) {
            if (item.kind === 'caught-up') yield item;
            else {
              const bad = item.events.filter(({ position }) => unreadable(position));
              const events = item.events.filter(({ position }) => !unreadable(position));
              yield { ...item, events, unreadable: bad.map(record) };
            }
          }
        },
      },
      async *readStream(stream, range) {
        for await (const found of readStream(stream, range)) {
          yield 'event' in found && unreadable(found.position) ? record(found) : found;
        }
      },
    };
    const { passed, runner } = run(t, damaged);
    await runner.caughtUp;
    await eventually('both have parked it', async () => (await parked().list()).length === 2);
    assert.deepEqual([await rows(), await subjects()], [['a:1'], ['1']]);
    assert.match((await parked().list())[0]?.error ?? '', /v2 is unknown/);
    await passed(await commands(store).retry());
    assert.equal((await parked().list()).length, 2);
    await passed(await commands(store).skip());
    assert.deepEqual([await rows(), await subjects()], [['a:1', 'a:3'], ['1']]);
  });

  test('is found among hundreds that are applied at once', async (t) => {
    const store = createFakeEventStore();
    faults.set(250, 'data');
    for (let node = 0; node < 50; node += 1) {
      await append(store, `n${node}`, ...Array.from({ length: 10 }, (_, index) => node * 10 + index));
    }
    const { runner } = run(t, store);
    await runner.caughtUp;
    assert.equal((await rows()).length, 490);
    assert.deepEqual(
      (await parked().list()).map(({ stream, waiting }) => [stream, waiting]),
      [['nbdPorts-n25', 9]],
    );
  });
});
