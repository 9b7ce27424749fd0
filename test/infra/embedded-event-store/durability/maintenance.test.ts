import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { createEventStoreMaintenance, MaintenanceNotOffered } from '#infra/event-store-maintenance.ts';
import { dbClient } from '../protocol/db-client.ts';
import { openLane } from '../protocol/lane.ts';
import { ada, ops } from '../protocol/store-process.ts';
import { connect, happened, startServer, tempDir } from '../support.ts';

const lastOf = async <T>(progress: AsyncIterable<T>): Promise<T | undefined> => {
  let last: T | undefined;
  for await (const told of progress) last = told;
  return last;
};

test('in a store with users only operators may look after it', async () => {
  const lane = await openLane('secure', dbClient);
  for (const who of [ada, 'anonymous'] as const) {
    const { scavenge, verify } = createEventStoreMaintenance(lane.connect(who));
    await assert.rejects(lastOf(scavenge()), /access denied/i);
    await assert.rejects(lastOf(verify()), /access denied/i);
  }
  const maintenance = createEventStoreMaintenance(lane.connect(ops));
  assert.equal((await lastOf(maintenance.scavenge()))?.done, true);
  assert.deepEqual((await lastOf(maintenance.verify()))?.damage, []);
});

test('a store of somebody else is told from ours, with what to use there', async (t) => {
  const server = new Server();
  const { promise: port, resolve, reject } = Promise.withResolvers<number>();
  server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
    error ? reject(error) : resolve(bound),
  );
  t.after(() => server.forceShutdown());
  const { scavenge } = createEventStoreMaintenance(connect(t, `esdb://127.0.0.1:${await port}?tls=false`));
  await assert.rejects(lastOf(scavenge()), (error) => {
    assert.ok(error instanceof MaintenanceNotOffered);
    return /EventStoreDB: start a scavenge there/.test(error.message);
  });
});

test('a verification names what is damaged and goes on behind it', async (t) => {
  const dataDir = await tempDir(t);
  const first = await startServer(t, { dataDir });
  for (let n = 0; n < 20; n += 1) {
    await first.client.appendToStream(`order-${n % 3}`, happened(n, { text: `text ${n} of twenty` }));
  }
  await first.client.dispose();
  await first.server.close();
  const path = join(dataDir, 'events.sqlite');
  const bytes = await readFile(path);
  // Also where a page that was split left it behind: only one of them is the event.
  for (const text of ['text 7 of twenty', 'text 12 of twenty']) {
    for (let at = bytes.indexOf(text); at !== -1; at = bytes.indexOf(text)) bytes.write('!', at);
  }
  await writeFile(path, bytes);

  const { client } = await startServer(t, { dataDir });
  const told = await lastOf(createEventStoreMaintenance(client).verify());
  assert.deepEqual(told?.damage, [
    'the event at position 9 (revision 2 of its stream)',
    'the event at position 14 (revision 4 of its stream)',
  ]);
  assert.deepEqual([told?.done, told?.eventsRead, told?.lastPosition], [true, 19, 21]);
});
