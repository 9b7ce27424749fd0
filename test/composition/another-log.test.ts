import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { sql } from 'kysely';
import type { EventFeed } from '#commands/ports.ts';
import type { Database } from '#infra/postgres/database.ts';
import { TablesInUse } from '#projections/begin-anew.ts';
import { readFollowedLog } from '#projections/followed-log.ts';
import { happenedTimes } from '../infra/embedded-event-store/support.ts';
import { exportTo, fileIn, importFrom } from '../infra/event-transfer/support.ts';
import { eventually } from '../support/eventually.ts';
import { eachWithDatabase, type TestPostgres } from '../support/postgres.ts';
import {
  copyOf,
  type HubOptions,
  type Log,
  openLog,
  portsIn,
  positionsIn,
  scavenge,
  secondDatabase,
  startTables,
} from './another-log-world.ts';

let postgres: TestPostgres;
let database: Database;

eachWithDatabase((fresh, server) => {
  database = fresh;
  postgres = server;
});

/** A hub that starts, catches up and stops; returns why it began the tables anew. */
const oneLife = async (t: TestContext, log: Log, options: HubOptions = {}): Promise<readonly string[]> => {
  const hub = await startTables(t, log, database, options);
  await hub.readModel.runner.caughtUp;
  await hub.end();
  assert.deepEqual(hub.problems, []);
  return hub.begunAnew;
};

/** Tables that are made anew have another number. */
const tableNumbers = async () =>
  (
    await sql<{ oid: string }>`
      select c.oid::text as oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where starts_with(n.nspname, 'sendense_read_') order by c.oid`.execute(database.readModel)
  ).rows.map(({ oid }) => oid);

describe('read models of the same log', () => {
  test('stay as they are, however often the hub starts', async (t) => {
    const log = await openLog(t);
    await log.lease(1, 2, 3);
    assert.deepEqual(await oneLife(t, log), []);
    const [tables, followed] = [await tableNumbers(), await readFollowedLog(database.readModel)];
    await log.lease(4);
    assert.deepEqual([await oneLife(t, log), await oneLife(t, log)], [[], []]);
    assert.deepEqual([await portsIn(database), await tableNumbers()], [[1, 2, 3, 4], tables]);
    assert.equal((await readFollowedLog(database.readModel))?.id, followed?.id);
  });

  test('stay as they are when the log was empty at the first start', async (t) => {
    const log = await openLog(t);
    assert.deepEqual(await oneLife(t, log), []);
    await log.lease(1);
    assert.deepEqual([await oneLife(t, log), await oneLife(t, log)], [[], []]);
    assert.deepEqual(await portsIn(database), [1]);
  });

  test('stay as they are when events by which it was known were scavenged', async (t) => {
    const log = await openLog(t);
    await log.lease(1, 2);
    await oneLife(t, log);
    await log.lease(3);
    await log.client.setStreamMetadata('nbdPorts-hub-1', { truncateBefore: 2 });
    await scavenge(log);
    assert.deepEqual([await oneLife(t, log), await oneLife(t, log)], [[], []]);
    assert.deepEqual(await portsIn(database), [1, 2, 3]);
  });

  test('are those of an installation that has noted no log so far, and it is noted', async (t) => {
    const log = await openLog(t);
    await log.lease(1, 2);
    await oneLife(t, log);
    const tables = await tableNumbers();
    await sql`truncate followed_log, log_marks`.execute(database.readModel);
    assert.deepEqual(await oneLife(t, log), []);
    assert.deepEqual(await tableNumbers(), tables);
    const followed = await readFollowedLog(database.readModel);
    assert.deepEqual([followed?.reason, followed?.marks.map(({ position }) => position)], [null, [3n, 1n]]);
  });

  test('are begun anew without a noted log when they are ahead of it', async (t) => {
    const [log, other] = [await openLog(t), await openLog(t)];
    await log.lease(1, 2, 3);
    await other.lease(11, 12);
    await oneLife(t, log);
    await sql`truncate followed_log, log_marks`.execute(database.readModel);
    assert.match((await oneLife(t, other)).join(), /ends at position 3, .* everything up to 4: it lost its end/);
    assert.deepEqual(await portsIn(database), [11, 12]);
  });
});

describe('read models of another log', () => {
  for (const [what, ports] of [
    ['shorter', [11]],
    ['as long', [11, 12, 13]],
    ['longer', [11, 12, 13, 14, 15]],
    ['empty', []],
  ] as const) {
    test(`are built anew for one that is ${what}, once`, async (t) => {
      const [log, other] = [await openLog(t), await openLog(t)];
      await log.lease(1, 2, 3);
      await other.lease(...ports);
      await oneLife(t, log);
      assert.equal((await oneLife(t, other)).length, 1);
      assert.deepEqual(await portsIn(database), ports);
      assert.deepEqual(await oneLife(t, other), []);
      const followed = await readFollowedLog(database.readModel);
      assert.match(followed?.reason ?? '', /is not in this log/);
      assert.match((await oneLife(t, log)).join(), ports.length > 0 ? /is not in this log/ : /^$/);
      assert.deepEqual(await portsIn(database), [1, 2, 3]);
    });
  }

  test('are built anew after a move, for the positions are others', async (t) => {
    const [log, moved, file] = [await openLog(t), await openLog(t), await fileIn(t)];
    await log.lease(1, 2);
    await log.client.appendToStream('$of-the-server', happenedTimes(3));
    await log.lease(3);
    await oneLife(t, log);
    await exportTo(log.client, file);
    await importFrom(moved.client, file);
    await moved.lease(4, 5, 6, 7);
    assert.match((await oneLife(t, moved)).join(), /at position 7 .* is at another position in this log/);
    assert.deepEqual(await portsIn(database), [1, 2, 3, 4, 5, 6, 7]);
    assert.deepEqual(await positionsIn(database), [2n, 3n, 4n, 5n, 6n, 7n, 8n]);
  });

  test('are those of an older copy, also when that has outgrown them since', async (t) => {
    const log = await openLog(t);
    await log.lease(1, 2);
    const copy = await copyOf(t, log);
    const lived = await openLog(t, log.dataDir);
    await lived.lease(3, 4);
    await oneLife(t, lived);
    const older = await openLog(t, copy);
    assert.match((await oneLife(t, older)).join(), /position 5 .* is not in this log/);
    assert.deepEqual(await portsIn(database), [1, 2]);
    await oneLife(t, lived);
    assert.deepEqual(await portsIn(database), [1, 2, 3, 4]);
    await older.lease(13, 14, 15);
    assert.equal((await oneLife(t, older)).length, 1);
    assert.deepEqual(await portsIn(database), [1, 2, 13, 14, 15]);
  });

  test('take parked streams and what other versions have built along', async (t) => {
    const [log, other] = [await openLog(t), await openLog(t)];
    await log.lease(1);
    await other.lease(11);
    await oneLife(t, log);
    await sql`create schema sendense_read_old_version_0123456789`.execute(database.readModel);
    await sql`insert into checkpoints values ('sendense_read_old_version_0123456789', 1)`.execute(database.readModel);
    await oneLife(t, other);
    const { rows } = await sql`
      select nspname from pg_namespace where nspname like '%old_version%'
      union select projection from checkpoints where projection like '%old_version%'`.execute(database.readModel);
    assert.deepEqual(rows, []);
  });
});

describe('two hubs on one database', () => {
  test('that start at once on another log build the tables anew once', async (t) => {
    const [log, other] = [await openLog(t), await openLog(t)];
    await log.lease(1, 2, 3);
    await other.lease(11, 12, 13, 14);
    await oneLife(t, log);
    const second = await secondDatabase(t, postgres);
    const hubs = await Promise.all([startTables(t, other, database), startTables(t, other, second)]);
    await Promise.all(hubs.map(({ readModel }) => readModel.runner.caughtUp));
    assert.equal(hubs.flatMap(({ begunAnew }) => begunAnew).length, 1);
    await other.lease(15);
    const head = await other.feed.head();
    for (const { readModel } of hubs) assert.ok(await readModel.runner.waitFor(head, 5_000));
    assert.deepEqual(await portsIn(database), [11, 12, 13, 14, 15]);
    for (const { end } of hubs) await end();
  });

  test('do not fight over the tables: who comes with another log is refused, and says what to do', async (t) => {
    const [log, other] = [await openLog(t), await openLog(t)];
    await log.lease(1);
    await other.lease(11, 12);
    const first = await startTables(t, log, database);
    await first.readModel.runner.caughtUp;
    const second = await secondDatabase(t, postgres);
    await assert.rejects(startTables(t, other, second, { patienceMs: 100 }), (error: unknown) => {
      assert.ok(error instanceof TablesInUse);
      assert.match(error.message, /Stop every hub on this database .*SENDENSE_DATABASE/);
      return true;
    });
    await log.lease(2);
    assert.ok(await first.readModel.runner.waitFor(await log.feed.head(), 5_000));
    assert.deepEqual(await portsIn(database), [1, 2]);
    await first.end();
    assert.equal((await oneLife(t, other)).length, 1);
    assert.deepEqual(await portsIn(database), [11, 12]);
  });
});

describe('a hub that is building its tables anew', () => {
  const halfway = (feed: EventFeed): EventFeed => ({
    ...feed,
    async *subscribe(from, options, signal) {
      for await (const item of feed.subscribe(from, { ...options, maxBatch: 2 }, signal)) {
        yield item;
        if (item.kind === 'events' && item.events.length > 0) throw new Error('the lights went out');
      }
    },
  });

  test('and dies in the middle goes on at its next start, and ends right', async (t) => {
    const [log, other] = [await openLog(t), await openLog(t)];
    await log.lease(1, 2, 3, 4, 5, 6, 7, 8);
    await other.lease(11, 12, 13, 14, 15, 16);
    await oneLife(t, log);
    const dying = await startTables(t, other, database, { feed: halfway(other.feed) });
    await eventually('it has begun', async () => (await portsIn(database)).length > 0);
    await dying.end();
    assert.notEqual((await portsIn(database)).length, 6);
    assert.deepEqual(await oneLife(t, other), []);
    assert.deepEqual(await portsIn(database), [11, 12, 13, 14, 15, 16]);
  });

  test('begins with all of them or with none', async (t) => {
    const [log, other] = [await openLog(t), await openLog(t)];
    await log.lease(1, 2);
    await other.lease(11, 12);
    await oneLife(t, log);
    await sql`
      create function sendense_projections.refuse() returns trigger language plpgsql as $$ begin raise 'the disk is full'; end $$`.execute(
      database.readModel,
    );
    await sql`create trigger refuse before insert on followed_log execute function sendense_projections.refuse()`.execute(
      database.readModel,
    );
    const problems: unknown[] = [];
    const starting = startTables(t, other, database, { onProblem: (problem) => problems.push(problem) });
    await eventually('it was refused', () => /the disk is full/.test(String(problems[0])));
    assert.deepEqual(await portsIn(database), [1, 2]);
    await sql`drop trigger refuse on followed_log`.execute(database.readModel);
    const hub = await starting;
    await hub.readModel.runner.caughtUp;
    assert.equal(hub.begunAnew.length, 1);
    assert.deepEqual(await portsIn(database), [11, 12]);
  });
});

describe('a hub whose event store is replaced while it runs', () => {
  test('applies nothing of the other log, and says why', async (t) => {
    const [log, other] = [await openLog(t), await openLog(t)];
    await log.lease(1, 2);
    await other.lease(11, 12, 13);
    let current = log;
    const feed: EventFeed = {
      head: (signal) => current.feed.head(signal),
      subscribe: (...args) => current.feed.subscribe(...args),
    };
    const logIdentity: Log['logIdentity'] = {
      head: () => current.logIdentity.head(),
      ends: () => current.logIdentity.ends(),
      find: (mark) => current.logIdentity.find(mark),
    };
    const readStream: Log['readStream'] = (...args) => current.readStream(...args);
    const hub = await startTables(t, log, database, { feed, logIdentity, readStream });
    await hub.readModel.runner.caughtUp;
    current = other;
    await log.stopServer();
    await eventually('it notices', () => /Restart the hub/.test(hub.readModel.runner.status().problem ?? ''));
    assert.deepEqual(await portsIn(database), [1, 2]);
    await hub.end();
    assert.equal((await oneLife(t, other)).length, 1);
    assert.deepEqual(await portsIn(database), [11, 12, 13]);
  });
});
