import assert from 'node:assert/strict';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { EventStoreDBClient } from '@eventstore/db-client';
import { tempDir, until } from '../support.ts';
import { CrashStore } from './crash-store.ts';
import { startFleet } from './fleet.ts';

const storesPerKill = 20;
// One store's kill is one round. More of them: SENDENSE_TEST_CRASH_ROUNDS=5000.
const rounds = Number(process.env.SENDENSE_TEST_CRASH_ROUNDS ?? 200);
// Fresh stores after that many kills: what was checked often enough is not read for ever.
const killsPerGeneration = 5;
// After each store has taken a change.
const killWithinMs = 200;

const withClients = async (
  ports: readonly number[],
  work: (clients: readonly EventStoreDBClient[]) => Promise<void>,
) => {
  const clients = ports.map((port) => EventStoreDBClient.connectionString(`esdb://127.0.0.1:${port}?tls=false`));
  try {
    await work(clients);
  } finally {
    await Promise.all(clients.map((client) => client.dispose()));
  }
};

type Generation = Readonly<{ dataDirs: readonly string[]; stores: readonly CrashStore[]; compileCache: string }>;

const untilEachWrote = async (stores: readonly CrashStore[]): Promise<void> => {
  const before = stores.map(({ acknowledged }) => acknowledged);
  await until(() => stores.every(({ acknowledged }, index) => acknowledged > (before[index] ?? 0)), 'a change in each');
};

/** Checks what the kill before left, writes on, and kills again. */
const round = async (t: TestContext, { dataDirs, stores, compileCache }: Generation): Promise<void> => {
  const fleet = await startFleet(t, dataDirs, compileCache);
  await withClients(fleet.ports, async (clients) => {
    const each = (work: (store: CrashStore, client: EventStoreDBClient) => Promise<void>) =>
      Promise.all(stores.map((store, index) => work(store, clients[index] as EventStoreDBClient)));
    await each((store, client) => store.check(client));
    const writing = each((store, client) => store.writeUntilGone(client));
    await Promise.race([untilEachWrote(stores), writing]);
    await Promise.race([pause(Math.random() * killWithinMs), writing]);
    await fleet.kill();
    await writing;
  });
};

test(`${rounds} kills at random moments lose, double, halve or reorder nothing that was acknowledged`, async (t) => {
  const folder = await tempDir(t);
  let [acknowledged, scavenged] = [0, 0];
  for (let done = 0, generation = 0; done < rounds; generation += 1) {
    const dataDirs = Array.from({ length: storesPerKill }, (_, n) => join(folder, `${generation}-${n}`));
    const stores = dataDirs.map(() => new CrashStore());
    const state = { dataDirs, stores, compileCache: join(folder, 'compile-cache') };
    for (let kills = 0; kills < killsPerGeneration && done < rounds; kills += 1, done += storesPerKill) {
      await round(t, state);
    }
    await round(t, state);
    acknowledged += stores.reduce((sum, store) => sum + store.acknowledged, 0);
    scavenged += stores.reduce((sum, store) => sum + store.scavenged, 0);
  }
  t.diagnostic(`${acknowledged} acknowledged changes, ${scavenged} events scavenged`);
  assert.ok(acknowledged > rounds * 5, `only ${acknowledged} changes: the kills came too early to prove anything`);
  assert.ok(scavenged > 0);
});
