import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { sql } from 'kysely';
import type { Database } from '#infra/postgres/database.ts';
import { beside, liveGenerations, whatBeside } from '#projections/generation.ts';
import { createGenerations, storedSchemas } from '#projections/generations.ts';
import { nbdProjection } from '#projections/nbd.ts';
import { anyProjection } from '#projections/projection.ts';
import { checkEquality, startRebuild } from '#projections/rebuild.ts';
import { cancelRebuild, readRebuild } from '#projections/rebuild-record.ts';
import { createFakeEventStore } from '../support/fake-event-store.ts';
import { eachWithDatabase, type TestPostgres } from '../support/postgres.ts';
import { lease, leased, live, projections, type Store, startBackup } from './rebuild-world.ts';

let postgres: TestPostgres;
let database: Database;

eachWithDatabase((fresh, server) => {
  database = fresh;
  postgres = server;
}, projections);

const depsOf = (store: Store, db = database) => {
  const { feed: source, readStream } = store;
  return { db: db.readModel, openSchemas: db.openSchemas, source, readStream };
};
const never = new AbortController().signal;
const rebuild = async (store: Store, some = projections, signal = never) => {
  const { begun, done } = startRebuild(
    depsOf(store),
    { id: 'r', projections: some, requestedBy: 'user:admin' },
    signal,
  );
  await begun;
  return done;
};
const differing = async (store: Store) =>
  (await checkEquality(depsOf(store), projections, never)).filter(
    ({ onlyLive, onlyRebuilt }) => onlyLive + onlyRebuilt > 0,
  );
const ports = () => leased(database);
const diskIds = async () =>
  (
    await database.readModel.selectFrom('backup_disks').select('backup_disk_id').orderBy('backup_disk_id').execute()
  ).map((row) => row.backup_disk_id);
/** What a build leaves, if it does not clean up. */
const besides = async () => (await storedSchemas(database.readModel, 'sendense_read_')).filter(whatBeside);

/** Asks for the rows again and again; every answer must be a number of rows that there was. */
const askAllTheTime = (expected: (count: number) => boolean) => {
  const stop = new AbortController();
  const bad: unknown[] = [];
  let asked = 0;
  const ask = async () => {
    while (!stop.signal.aborted) {
      try {
        const count = await ports();
        if (!expected(count)) bad.push(count);
      } catch (error) {
        bad.push(error);
      }
      asked += 1;
    }
  };
  const askers = Promise.all([ask(), ask(), ask()]);
  return async () => {
    stop.abort();
    await askers;
    return { bad, asked };
  };
};

describe('a rebuild', () => {
  test('replaces wrong rows by right ones, starts numbers anew, and leaves nothing beside', async (t) => {
    const store = createFakeEventStore();
    await lease(store, 3);
    await startBackup(store, 'backup-a-1');
    await startBackup(store, 'backup-b-2');
    await live(t, store, database);
    await database.readModel.deleteFrom('nbd_port_allocations').execute();
    await database.readModel.updateTable('backup_disks').set({ backup_disk_id: sql`backup_disk_id + 40` }).execute();
    assert.deepEqual(
      (await differing(store)).map(({ table }) => table),
      ['backup_disks', 'nbd_port_allocations'],
    );
    await rebuild(store);
    assert.deepEqual([await ports(), await diskIds()], [3, [1, 2, 3, 4]]);
    assert.deepEqual(await differing(store), []);
    assert.deepEqual(await besides(), []);
    const progress = await readRebuild(database.readModel);
    assert.deepEqual(
      [progress?.state, progress?.eventsDone, progress?.eventsTotal, progress?.secondsLeft, progress?.requestedBy],
      ['completed', 5, 5, 0, 'user:admin'],
    );
  });

  test('of one read model leaves the others alone', async (t) => {
    const store = createFakeEventStore();
    await lease(store, 3);
    await startBackup(store, 'backup-a-1');
    await live(t, store, database);
    await database.readModel.deleteFrom('nbd_port_allocations').execute();
    await database.readModel.deleteFrom('backup_disks').execute();
    await rebuild(store, [anyProjection(nbdProjection)]);
    assert.deepEqual([await ports(), await diskIds()], [3, []]);
  });

  test('goes on while events come and queries are asked: none sees an error or an empty table', async (t) => {
    const store = createFakeEventStore();
    await lease(store, 400);
    const runner = await live(t, store, database);
    const stopAsking = askAllTheTime((count) => count >= 400);
    const stop = new AbortController();
    const writing = (async () => {
      while (!stop.signal.aborted) await runner.waitFor(await lease(store, 1), 5_000);
    })();
    for (let round = 0; round < 5; round += 1) await rebuild(store);
    stop.abort();
    await writing;
    const { bad, asked } = await stopAsking();
    assert.deepEqual(bad, []);
    assert.ok(asked > 20, `${asked} queries`);
    assert.equal(await runner.waitFor(await lease(store, 1), 5_000), true);
    assert.equal(await ports(), store.log.length);
    assert.equal((await readRebuild(database.readModel))?.state, 'completed');
    assert.deepEqual(await differing(store), []);
  });

  test('counts nothing twice when another hub applies the same events meanwhile', async (t) => {
    const store = createFakeEventStore();
    const second = await postgres.again(projections);
    t.after(() => second.close());
    for (let n = 0; n < 20; n += 1) await startBackup(store, `backup-x-${n}`);
    const runners = [await live(t, store, database), await live(t, store, second)];
    const rebuilt = rebuild(store);
    for (let n = 20; n < 40; n += 1) await startBackup(store, `backup-x-${n}`);
    await rebuilt;
    const position = await startBackup(store, 'backup-x-40');
    for (const runner of runners) assert.ok(await runner.waitFor(position, 5_000));
    assert.deepEqual(
      await diskIds(),
      Array.from({ length: 82 }, (_, index) => index + 1),
    );
    assert.deepEqual(await differing(store), []);
  });

  test('that fails changes nothing and says why', async (t) => {
    const store = createFakeEventStore();
    await lease(store, 3);
    await live(t, store, database);
    const broken: Store = {
      ...store,
      feed: {
        ...store.feed,
        async *subscribe() {
          yield { kind: 'events', events: store.log.slice(0, 1), position: 100n };
          throw new Error('the log cannot be read');
        },
      },
    };
    await rebuild(broken);
    const progress = await readRebuild(database.readModel);
    assert.deepEqual([progress?.state, progress?.error], ['failed', 'the log cannot be read']);
    assert.deepEqual([await ports(), await besides()], [3, []]);
  });

  /** A log that does not come to its end until it is let go. */
  const slow = (store: Store) => {
    const { promise: go, resolve: letGo } = Promise.withResolvers<void>();
    const feed: Store['feed'] = {
      ...store.feed,
      async *subscribe(from, options, signal) {
        yield { kind: 'events', events: store.log.slice(0, 1), position: store.log[0]?.position ?? 0n };
        await go;
        yield* store.feed.subscribe(from, options, signal);
      },
    };
    return { store: { ...store, feed }, letGo };
  };

  test('is one at a time, of whichever hub, and can be cancelled from any', async (t) => {
    const store = createFakeEventStore();
    await lease(store, 3);
    await live(t, store, database);
    const second = await postgres.again(projections);
    t.after(() => second.close());
    const held = slow(store);
    const first = startRebuild(depsOf(held.store), { id: 'first', projections, requestedBy: 'user:admin' }, never);
    await first.begun;
    const other = startRebuild(depsOf(store, second), { id: 'other', projections, requestedBy: 'user:eve' }, never);
    await assert.rejects(other.begun, /rebuilt or checked already/);
    await assert.rejects(checkEquality(depsOf(store, second), projections, never), /rebuilt or checked already/);
    assert.equal((await readRebuild(second.readModel))?.state, 'running');
    await cancelRebuild(second.readModel);
    await first.done;
    held.letGo();
    const progress = await readRebuild(second.readModel);
    assert.deepEqual([progress?.id, progress?.state], ['first', 'cancelled']);
    assert.deepEqual([await ports(), await besides()], [3, []]);
    await assert.rejects(cancelRebuild(second.readModel), /no rebuild is under way/);
  });

  test('whose hub was killed is told as interrupted, and the next one begins from nothing', async (t) => {
    const store = createFakeEventStore();
    await lease(store, 3);
    await live(t, store, database);
    await createGenerations(
      database.readModel,
      liveGenerations(projections).map((generation) => beside(generation, 'next')),
    );
    await sql`insert into rebuilds (id, state, projections, requested_by) values ('lost', 'running', '[]', 'user:admin')`.execute(
      database.readModel,
    );
    assert.equal((await readRebuild(database.readModel))?.state, 'interrupted');
    await rebuild(store);
    assert.deepEqual([await ports(), await besides()], [3, []]);
  });
});
