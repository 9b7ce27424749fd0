import assert from 'node:assert/strict';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { type EventStoreDBClient, NO_STREAM, type ResolvedEvent, START } from '@eventstore/db-client';
import { createEventStoreMaintenance } from '#infra/event-store-maintenance.ts';
import { collect, happened, happenedTimes, revisionsOf, startServer, tempDir, until } from '../support.ts';
import { openStorage, proposed } from './damaged-store.ts';

const scavenge = async (client: EventStoreDBClient) => {
  const told = await everyOf(createEventStoreMaintenance(client).scavenge());
  const last = told.at(-1);
  assert.equal(last?.done, true);
  return last;
};

const everyOf = async <T>(from: AsyncIterable<T>): Promise<readonly T[]> => {
  const all: T[] = [];
  for await (const item of from) all.push(item);
  return all;
};

/** Revisions of a stream that the log still holds. */
const inLog = async (client: EventStoreDBClient, stream: string): Promise<number[]> => {
  const all: ResolvedEvent[] = await collect(client.readAll({ fromPosition: START }));
  return revisionsOf(all.filter(({ event }) => event?.streamId === stream));
};

test('what metadata hides is removed, what readers see stays: by count, by age, by truncation', async (t) => {
  const { client } = await startServer(t);
  for (const [stream, metadata] of [
    ['counted', { maxCount: 3 }],
    ['truncated', { truncateBefore: 6 }],
    ['both', { truncateBefore: 2, maxCount: 5 }],
    ['young', { maxAge: 3600 }],
    ['plain', { custom: true }],
  ] as const) {
    await client.appendToStream(stream, happenedTimes(10));
    await client.setStreamMetadata(stream, metadata);
  }
  const told = await scavenge(client);
  assert.equal(told.eventsRemoved, 7 + 6 + 5);
  assert.deepEqual(await inLog(client, 'counted'), [7, 8, 9]);
  assert.deepEqual(await inLog(client, 'truncated'), [6, 7, 8, 9]);
  assert.deepEqual(await inLog(client, 'both'), [5, 6, 7, 8, 9]);
  assert.equal((await inLog(client, 'young')).length, 10);
  assert.equal((await inLog(client, 'plain')).length, 10);
  assert.deepEqual(revisionsOf(await collect(client.readStream('counted'))), [7, 8, 9]);
  assert.deepEqual(revisionsOf(await collect(client.readStream('counted', { fromRevision: 2n, maxCount: 2 }))), [7, 8]);
  assert.equal((await scavenge(client)).eventsRemoved, 0);
});

test('events past their age are removed from the front of their stream', async (t) => {
  const { client } = await startServer(t);
  await client.appendToStream('aged', happenedTimes(5));
  await client.setStreamMetadata('aged', { maxAge: 1 });
  await until(async () => (await collect(client.readStream('aged'))).length === 0, 'the events to age');
  await client.appendToStream('aged', happened(5));
  assert.equal((await scavenge(client)).eventsRemoved, 5);
  assert.deepEqual(await inLog(client, 'aged'), [5]);
});

test('deleted streams go, tombstones stay, and of metadata the last; a deleted stream goes on counting', async (t) => {
  const { client } = await startServer(t);
  await client.appendToStream('soft', happenedTimes(4));
  await client.deleteStream('soft');
  await client.setStreamMetadata('hard', { maxCount: 9 });
  await client.appendToStream('hard', happenedTimes(4));
  await client.tombstoneStream('hard');
  await client.setStreamMetadata('often', { maxCount: 1 });
  await client.setStreamMetadata('often', { maxCount: 2 });
  await client.setStreamMetadata('often', { maxCount: 3 });
  assert.equal((await scavenge(client)).eventsRemoved, 4 + 4 + 1 + 2);

  assert.deepEqual(await inLog(client, 'soft'), []);
  await assert.rejects(collect(client.readStream('soft')), { type: 'stream-not-found' });
  assert.equal((await client.appendToStream('soft', happened(4), { expectedRevision: 3n })).nextExpectedRevision, 4n);
  assert.deepEqual(revisionsOf(await collect(client.readStream('soft'))), [4]);
  const left = (await collect(client.readAll())).filter(({ event }) => event?.streamId === 'hard');
  assert.deepEqual(
    left.map(({ event }) => event?.type),
    ['$streamDeleted'],
  );
  await assert.rejects(collect(client.readStream('hard')), { type: 'stream-deleted' });
  assert.deepEqual(await inLog(client, '$$often'), [2]);
  assert.equal((await client.getStreamMetadata('often')).metadata?.maxCount, 3);
});

test('positions stay as they were and are never used again, even those of the end', async (t) => {
  const dataDir = await tempDir(t);
  const storage = await openStorage(t, dataDir);
  const append = (streamName: string) =>
    storage.append({ streamName, expected: { kind: 'any' }, events: [proposed('a'), proposed('b')] }, 100);
  await append('stays');
  await append('goes');
  await storage.tombstone('goes', { kind: 'any' });
  await append('goes too');
  const before = storage.lastPosition();
  await storage.delete('goes too', { kind: 'any' });
  await storage.tombstone('goes too', { kind: 'any' });
  for await (const _progress of storage.scavenge());
  const positions = () =>
    storage.reader
      .allPage({ from: 1, to: storage.lastPosition() }, 'forwards', () => true)
      .map(({ position }) => position);
  assert.deepEqual(positions(), [1, 2, 3, 6, before + 2]);
  storage.close();

  const again = await openStorage(t, dataDir);
  const next = await again.append({ streamName: 'new', expected: { kind: 'any' }, events: [proposed('c')] }, 100);
  assert.deepEqual(next, { kind: 'written', revision: 0, position: before + 3 });
});

test('an exact repeat of what is still there is recognised; of what was removed it is a conflict', async (t) => {
  const { client } = await startServer(t);
  const events = happenedTimes(4);
  await client.appendToStream('order-1', events, { expectedRevision: NO_STREAM });
  await client.setStreamMetadata('order-1', { truncateBefore: 2 });
  await scavenge(client);
  const there = await client.appendToStream('order-1', events.slice(2), { expectedRevision: 1n });
  assert.equal(there.nextExpectedRevision, 3n);
  const gone = client.appendToStream('order-1', events.slice(0, 1), { expectedRevision: NO_STREAM });
  await assert.rejects(gone, { type: 'wrong-expected-version' });
  assert.equal((await inLog(client, 'order-1')).length, 2);
});

test('the file shrinks, appends and subscriptions go on meanwhile, and nothing is missed', async (t) => {
  const { client, dataDir } = await startServer(t);
  const text = 'x'.repeat(2000);
  const stay: number[] = [];
  for (let n = 0; n < 30; n += 1) {
    await client.appendToStream(
      'telemetry',
      Array.from({ length: 200 }, () => happened(n, { text })),
    );
    await client.appendToStream('kept', happened(n));
    stay.push(n);
  }
  await client.setStreamMetadata('telemetry', { maxCount: 1 });
  const size = async () => (await stat(join(dataDir, 'events.sqlite'))).size;
  const seen: number[] = [];
  const subscription = client.subscribeToStream('kept');
  subscription.on('data', ({ event }) => seen.push(Number(event?.revision)));
  let scavenging = true;
  const appending = (async () => {
    for (let n = 30; scavenging; n += 1) {
      await client.appendToStream('kept', happened(n), { expectedRevision: BigInt(n - 1) });
      stay.push(n);
    }
  })();
  const told = await scavenge(client);
  scavenging = false;
  await appending;
  assert.equal(told.eventsRemoved, 30 * 200 - 1);
  assert.ok((await size()) < 1024 ** 2, `${await size()} bytes left`);
  assert.ok(stay.length > 32, 'appends went on');
  await until(() => seen.length === stay.length, 'the subscription');
  assert.deepEqual(seen, stay);
  assert.deepEqual(await inLog(client, 'kept'), stay);
  const verified = await everyOf(createEventStoreMaintenance(client).verify());
  assert.deepEqual([verified.at(-1)?.done, verified.at(-1)?.damage], [true, []]);
  await subscription.unsubscribe();
});

test('a subscription whose place was removed goes on behind it', async (t) => {
  const { client } = await startServer(t);
  await client.appendToStream('order-1', happenedTimes(10));
  const [, , third] = await collect(client.readAll({ fromPosition: START }));
  await client.setStreamMetadata('order-1', { truncateBefore: 8 });
  await scavenge(client);
  const commit = third?.event?.position?.commit ?? 0n;
  const seen: string[] = [];
  const all = client.subscribeToAll({ fromPosition: { commit, prepare: commit } });
  all.on('data', ({ event }) => seen.push(`${event?.streamId}@${event?.revision}`));
  const one = client.subscribeToStream('order-1', { fromRevision: 3n });
  const ofStream: number[] = [];
  one.on('data', ({ event }) => ofStream.push(Number(event?.revision)));
  await until(() => seen.length === 3 && ofStream.length === 2, 'both subscriptions');
  assert.deepEqual(seen, ['order-1@8', 'order-1@9', '$$order-1@0']);
  assert.deepEqual(ofStream, [8, 9]);
  await Promise.all([all.unsubscribe(), one.unsubscribe()]);
});

test('one scavenge at a time', async (t) => {
  const { client } = await startServer(t);
  for (let n = 0; n < 5; n += 1) await client.appendToStream('order-1', happenedTimes(1000));
  await client.setStreamMetadata('order-1', { maxCount: 1 });
  const both = await Promise.allSettled([scavenge(client), scavenge(client)]);
  const [refused] = both.filter((end) => end.status === 'rejected');
  assert.match(String(refused?.reason), /running already/);
});

test('a scavenge falls due by itself', async (t) => {
  const { client } = await startServer(t, { scavengeEveryMs: 50 });
  await client.appendToStream('order-1', happenedTimes(10));
  await client.setStreamMetadata('order-1', { maxCount: 1 });
  await until(async () => (await inLog(client, 'order-1')).length === 1, 'the scheduled scavenge');
});
