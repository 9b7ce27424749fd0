import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { sql } from 'kysely';
import type { Database } from '#infra/postgres/database.ts';
import { liveGeneration, liveGenerations } from '#projections/generation.ts';
import { storedSchemas } from '#projections/generations.ts';
import { nbdProjection } from '#projections/nbd.ts';
import { anyProjection } from '#projections/projection.ts';
import { tidyGenerations } from '#projections/tidy.ts';
import { useGenerations } from '#projections/use.ts';
import { eventually } from '../support/eventually.ts';
import { createFakeEventStore } from '../support/fake-event-store.ts';
import { eachWithDatabase, type TestPostgres } from '../support/postgres.ts';
import { lease, leased, live, projections } from './rebuild-world.ts';

let postgres: TestPostgres;
let database: Database;

eachWithDatabase((fresh, server) => {
  database = fresh;
  postgres = server;
}, projections);

const schemas = () => storedSchemas(database.readModel, 'sendense_read_');

describe('generations', () => {
  const changed = anyProjection({
    ...nbdProjection,
    tables: {
      ...nbdProjection.tables,
      backup_counters: ['create table backup_counters (name text primary key, last bigint not null)'],
    },
  });

  test('of an old and a new version are kept up beside each other; the old one goes with its last hub', async (t) => {
    const store = createFakeEventStore();
    await lease(store, 3);
    const oldHub = await live(t, store, database);
    const oldUse = new AbortController();
    const using = useGenerations(database.readModel, liveGenerations(projections), oldUse.signal);
    const newDatabase = await postgres.again([changed]);
    t.after(() => newDatabase.close());
    const newHub = await live(t, store, newDatabase, [changed]);
    const position = await lease(store, 1);
    for (const hub of [oldHub, newHub]) assert.ok(await hub.waitFor(position, 5_000));
    assert.equal(await leased(database), 4);
    const oldSchema = liveGeneration(anyProjection(nbdProjection)).schema;
    await eventually('the old hub says what it uses', async () => {
      const { rows } = await sql<{
        n: number;
      }>`select count(*) as n from pg_locks where locktype = 'advisory' and mode = 'ShareLock'`.execute(
        database.readModel,
      );
      return (rows[0]?.n ?? 0) >= 2;
    });
    await tidyGenerations(newDatabase.readModel, [liveGeneration(changed)]);
    assert.ok((await schemas()).includes(oldSchema));
    oldUse.abort();
    await using.ended;
    await tidyGenerations(newDatabase.readModel, [liveGeneration(changed)]);
    assert.deepEqual(await schemas(), [liveGeneration(changed).schema]);
  });

  test('that are dropped under a running hub come back from the log', async (t) => {
    const store = createFakeEventStore();
    await lease(store, 3);
    const runner = await live(t, store, database);
    await sql
      .raw(`drop schema ${liveGeneration(anyProjection(nbdProjection)).schema} cascade`)
      .execute(database.readModel);
    const position = await lease(store, 1);
    assert.equal(await runner.waitFor(position, 10_000), true);
    assert.equal(await leased(database), 4);
  });
});
