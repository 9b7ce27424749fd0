import assert from 'node:assert/strict';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { happenedTimes, startServer, tempDir } from '../../infra/embedded-event-store/support.ts';
import { runCli } from '../../support/program.ts';

const silence = { SENDENSE_LOG: 'error' };

test('events scavenge works on the store of a stopped hub and on one that runs elsewhere, and says what it did', async (t) => {
  const dataDir = await tempDir(t);
  const { client, server, connectionString } = await startServer(t, { dataDir: join(dataDir, 'event-store') });
  await client.appendToStream('telemetry-1', happenedTimes(10));
  await client.setStreamMetadata('telemetry-1', { maxCount: 1 });
  const elsewhere = { ...silence, SENDENSE_DATA_DIR: await tempDir(t), SENDENSE_EVENTSTORE: connectionString };
  const first = await runCli(['events', 'scavenge', '--json'], elsewhere, dataDir);
  assert.equal(first.exitCode, 0, first.stderr);
  const { source, eventsRemoved, streams } = JSON.parse(first.stdout);
  assert.match(source, /^event store at 127\.0\.0\.1:\d+$/);
  assert.deepEqual([eventsRemoved, streams], [9, 3]);
  await client.appendToStream('telemetry-1', happenedTimes(2));
  await client.dispose();
  await server.close();
  const second = await runCli(['events', 'scavenge'], { ...silence, SENDENSE_DATA_DIR: dataDir }, dataDir);
  assert.match(second.stdout, /^embedded event store of .*: 2 events removed, \d+\.\d MiB left$/);
});

test('events verify reads everything, and names what is damaged', async (t) => {
  const dataDir = await tempDir(t);
  const storeDir = join(dataDir, 'event-store');
  const { client, server } = await startServer(t, { dataDir: storeDir });
  await client.appendToStream('telemetry-1', happenedTimes(10));
  await client.dispose();
  await server.close();
  const settings = { ...silence, SENDENSE_DATA_DIR: dataDir };
  const sound = await runCli(['events', 'verify', '--json'], settings, dataDir);
  assert.equal(sound.exitCode, 0, sound.stderr);
  const { eventsRead, damage } = JSON.parse(sound.stdout);
  assert.ok(eventsRead >= 10);
  assert.deepEqual(damage, []);
  const database = new DatabaseSync(join(storeDir, 'events.sqlite'));
  database.exec(
    'update events set record = zeroblob(length(record)) where position = (select max(position) from events)',
  );
  database.close();
  const damaged = await runCli(['events', 'verify'], settings, dataDir);
  assert.equal(damaged.exitCode, 1);
  assert.match(damaged.stdout, /damaged:\n {2}the event at position \d+/);
});

test('events scavenge on an EventStoreDB says what to use there', async (t) => {
  const server = new Server();
  const { promise: port, resolve, reject } = Promise.withResolvers<number>();
  server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
    error ? reject(error) : resolve(bound),
  );
  t.after(() => server.forceShutdown());
  const folder = await tempDir(t);
  const connection = `esdb://127.0.0.1:${await port}?tls=false`;
  const settings = { ...silence, SENDENSE_DATA_DIR: folder, SENDENSE_EVENTSTORE: connection };
  const { exitCode, stderr } = await runCli(['events', 'scavenge'], settings, folder);
  assert.equal(exitCode, 1);
  assert.match(stderr, /not the embedded one .* POST \/admin\/scavenge/);
});
