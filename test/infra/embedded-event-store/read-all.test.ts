import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BACKWARDS, END, type EventStoreDBClient, START } from '@eventstore/db-client';
import streamsPb from '@eventstore/db-client/generated/streams_pb.js';
import { connectRaw, empty, readOptions, readRaw } from './raw-client.ts';
import { collect, happened, happenedTimes, startServer } from './support.ts';

const namesIn = async (client: EventStoreDBClient, options: Parameters<EventStoreDBClient['readAll']>[0] = {}) =>
  (await collect(client.readAll(options))).map(({ event }) => `${event?.streamId}:${event?.revision}`);

const system = '$$$stats:0';

test('$all of a new store begins with an event of the system, at position 1', async (t) => {
  const { client } = await startServer(t);
  const [first, ...others] = await collect(client.readAll());
  assert.equal(first?.event?.type, '$metadata');
  assert.equal(first.commitPosition, 1n);
  assert.equal(others.length, 0);
});

test('$all has every event in the order of the log, either way', async (t) => {
  const { client } = await startServer(t);
  await client.appendToStream('a', happenedTimes(2));
  await client.appendToStream('b', happened(0));
  await client.appendToStream('a', happened(2));
  const log = [system, 'a:0', 'a:1', 'b:0', 'a:2'];
  assert.deepEqual(await namesIn(client), log);
  assert.deepEqual(await namesIn(client, { direction: BACKWARDS, fromPosition: END }), log.toReversed());
  assert.deepEqual(await namesIn(client, { maxCount: 2 }), log.slice(0, 2));
  assert.deepEqual(await namesIn(client, { direction: BACKWARDS, fromPosition: END, maxCount: 2 }), ['a:2', 'b:0']);
  assert.deepEqual(await namesIn(client, { direction: BACKWARDS, fromPosition: START }), []);
  assert.deepEqual(await namesIn(client, { fromPosition: END }), []);
});

test('a position is inclusive forwards and exclusive backwards', async (t) => {
  const { client } = await startServer(t);
  await client.appendToStream('a', happened(0));
  const { position } = await client.appendToStream('b', happened(0));
  await client.appendToStream('c', happened(0));
  assert.ok(position);
  assert.deepEqual(await namesIn(client, { fromPosition: position }), ['b:0', 'c:0']);
  assert.deepEqual(await namesIn(client, { direction: BACKWARDS, fromPosition: position }), ['a:0', system]);
  const far = { commit: 2n ** 63n, prepare: 2n ** 63n };
  assert.deepEqual(await namesIn(client, { fromPosition: far }), []);
  assert.equal((await namesIn(client, { direction: BACKWARDS, fromPosition: far })).length, 4);
});

test('positions rise strictly and stay above all earlier ones after a restart', async (t) => {
  const first = await startServer(t);
  await first.client.appendToStream('a', happenedTimes(3));
  await first.client.dispose();
  await first.server.close();
  const { client } = await startServer(t, { dataDir: first.dataDir });
  await client.appendToStream('a', happenedTimes(3, 3));
  const positions = (await collect(client.readAll())).map(({ commitPosition }) => Number(commitPosition));
  assert.equal(positions.length, 7);
  assert.deepEqual(
    positions,
    [...new Set(positions)].toSorted((x, y) => x - y),
  );
});

test('deleted events stay in $all, and a tombstone shows as $streamDeleted', async (t) => {
  const { client } = await startServer(t);
  await client.appendToStream('soft', happened(0));
  await client.appendToStream('hard', happened(0));
  await client.deleteStream('soft');
  await client.tombstoneStream('hard');
  assert.deepEqual(await namesIn(client), [system, 'soft:0', 'hard:0', '$$soft:0', `hard:${2n ** 63n - 1n}`]);
  const [last] = await collect(client.readAll({ direction: BACKWARDS, fromPosition: END, maxCount: 1 }));
  assert.equal(last?.event?.type, '$streamDeleted');
});

test('the bookkeeping of persistent subscriptions to $all is hidden from $all', async (t) => {
  const { client } = await startServer(t);
  await client.appendToStream('$persistentsubscription-$all::group-checkpoint', happened(0));
  await client.appendToStream('$persistentsubscription-$all::group-parked', happened(0));
  await client.appendToStream('$persistentsubscription-orders::group-parked', happened(0));
  assert.deepEqual(await namesIn(client), [system, '$persistentsubscription-orders::group-parked:0']);
});

test('a filtered read gives the matching events only, up to the count, and no checkpoints', async (t) => {
  const { client, server } = await startServer(t);
  for (let n = 0; n < 100; n++) await client.appendToStream(`${n % 10 === 0 ? 'wanted' : 'other'}-${n}`, happened(n));
  const { Expression } = streamsPb.ReadReq.Options.FilterOptions;
  const filter = new streamsPb.ReadReq.Options.FilterOptions()
    .setStreamIdentifier(new Expression().setPrefixList(['wanted-']))
    .setMax(8);
  const options = readOptions()
    .setAll(new streamsPb.ReadReq.Options.AllOptions().setStart(empty()))
    .setFilter(filter)
    .setCount('7');
  const responses = await readRaw(connectRaw(t, server.port), options);
  assert.equal(responses.length, 7);
  assert.ok(responses.every((response) => response.hasEvent()));
});
