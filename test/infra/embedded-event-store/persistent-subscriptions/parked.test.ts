import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  persistentSubscriptionToAllSettingsFromDefaults as allSettings,
  binaryEvent,
  type EventStoreDBClient,
  START,
  streamNameFilter,
} from '@eventstore/db-client';
import { collect, happened, happenedTimes, startServer, until } from '../support.ts';
import { type Answer, acknowledge, Consuming, namesIn } from './consuming.ts';
import { consume, createGroup } from './one-group.ts';

const parkedStream = '$persistentsubscription-order-1::group-parked';
const park: Answer = (taken, subscription) => subscription.nack('park', 'no good', taken);

const parkedCount = async (client: EventStoreDBClient): Promise<bigint> =>
  (await client.getPersistentSubscriptionToStreamInfo('order-1', 'group')).stats.parkedMessageCount;

const untilParked = (client: EventStoreDBClient, count: bigint) =>
  until(async () => (await parkedCount(client)) === count, `${count} parked messages`);

/** A group with so many parked messages and nobody connected. */
const withParked = async (client: EventStoreDBClient, count: number, settings = {}) => {
  await client.appendToStream('order-1', happenedTimes(count));
  await createGroup(client, settings);
  const consumer = consume(client, park);
  await consumer.has(count);
  await untilParked(client, BigInt(count));
  await consumer.subscription.unsubscribe();
};

test('what a consumer parks is kept as a link with the reason, and not sent again', async (t) => {
  const { client } = await startServer(t);
  await withParked(client, 2);
  const links = await collect(client.readStream(parkedStream));
  assert.deepEqual(
    links.map(({ event }) => [event?.type, Buffer.from(event?.data as Uint8Array).toString()]),
    [
      ['$>', '0@order-1'],
      ['$>', '1@order-1'],
    ],
  );
  const metadata = links[1]?.event?.metadata as { added: string; reason: string; subscriptionEventNumber: number };
  assert.equal(metadata.reason, "Client explicitly NAK'ed message.\nno good");
  assert.equal(metadata.subscriptionEventNumber, 1);
  assert.ok(Date.now() - Date.parse(metadata.added) < 60_000);
  const resolved = await collect(client.readStream(parkedStream, { resolveLinkTos: true }));
  assert.deepEqual(
    resolved.map(({ event }) => event?.data),
    [{ n: 0 }, { n: 1 }],
  );
  await client.appendToStream('order-1', happened(2));
  assert.deepEqual(await consume(client, acknowledge).has(1), ['order-1:2']);
});

test('what was retried too often is parked with that as the reason', async (t) => {
  const { client } = await startServer(t);
  await client.appendToStream('order-1', happened(0));
  await createGroup(client, { maxRetryCount: 2 });
  const consumer = consume(client, (taken, subscription) => subscription.nack('retry', 'again', taken));
  await untilParked(client, 1n);
  assert.deepEqual(consumer.retries, [0, 1, 2]);
  const [link] = await collect(client.readStream(parkedStream));
  assert.equal((link?.event?.metadata as { reason: string } | undefined)?.reason, 'Reached retry count of 2');
});

test('a replay sends what is parked again, and removes it once it is dealt with', async (t) => {
  const { client } = await startServer(t);
  await withParked(client, 30);
  await client.replayParkedMessagesToStream('order-1', 'group');
  assert.equal(await parkedCount(client), 0n);
  const consumer = consume(client, acknowledge);
  await consumer.has(30);
  assert.deepEqual(
    consumer.taken.map(({ event, link }) => `${event?.streamId}:${event?.revision} by ${link?.streamId}`),
    namesIn('order-1', 30).map((name) => `${name} by ${parkedStream}`),
  );
  assert.deepEqual(new Set(consumer.retries), new Set([0]));
  await until(
    async () => (await collect(client.readStream(parkedStream))).length === 0,
    'the parked stream to be empty',
  );
  assert.equal((await client.getStreamMetadata(parkedStream)).metadata?.truncateBefore, 30);
  await client.appendToStream('order-1', happened(30));
  assert.equal((await consumer.has(31)).at(-1), 'order-1:30');
});

test('a replay that stops at a number sends those before it', async (t) => {
  const { client } = await startServer(t);
  await withParked(client, 10);
  await client.replayParkedMessagesToStream('order-1', 'group', { stopAt: 4 });
  const consumer = consume(client, acknowledge);
  await consumer.has(4);
  await untilParked(client, 6n);
  await client.replayParkedMessagesToStream('order-1', 'group', { stopAt: 4 });
  await client.replayParkedMessagesToStream('order-1', 'group', { stopAt: 1000 });
  await consumer.has(10);
  assert.deepEqual(
    consumer.taken.map(({ event }) => event?.revision),
    [...Array(10).keys()].map(BigInt),
  );
  await assert.rejects(client.replayParkedMessagesToStream('order-1', 'group', { stopAt: -1 }), /negative version/);
});

test('what is replayed can be parked once more', async (t) => {
  const { client } = await startServer(t);
  await withParked(client, 2);
  const consumer = consume(client, park);
  await client.replayParkedMessagesToStream('order-1', 'group');
  await consumer.has(2);
  await untilParked(client, 2n);
  await until(async () => (await collect(client.readStream(parkedStream))).length === 2, 'the old links to be gone');
  const links = await collect(client.readStream(parkedStream));
  assert.deepEqual(
    links.map(({ event }) => [event?.revision, Buffer.from(event?.data as Uint8Array).toString()]),
    [
      [2n, '0@order-1'],
      [3n, '1@order-1'],
    ],
  );
});

test('a replay without anybody to deal with it loses nothing when the store stops', async (t) => {
  const first = await startServer(t);
  await withParked(first.client, 3);
  await first.client.replayParkedMessagesToStream('order-1', 'group');
  await first.client.dispose();
  await first.server.close();
  const { client } = await startServer(t, { dataDir: first.dataDir });
  assert.equal(await parkedCount(client), 3n);
  await client.replayParkedMessagesToStream('order-1', 'group');
  const consumer = consume(client, acknowledge);
  await consumer.has(3);
  await until(
    async () => (await collect(client.readStream(parkedStream))).length === 0,
    'the parked stream to be empty',
  );
});

test('a link that was followed is parked as what it leads to', async (t) => {
  const { client } = await startServer(t);
  await client.appendToStream('target', happened(7));
  await client.appendToStream('order-1', binaryEvent({ type: '$>', data: Buffer.from('0@target') }));
  await createGroup(client, { resolveLinkTos: true });
  const consumer = consume(client, (taken, subscription) =>
    taken.link?.streamId === parkedStream ? subscription.ack(taken) : park(taken, subscription),
  );
  await untilParked(client, 1n);
  const [link] = await collect(client.readStream(parkedStream));
  assert.equal(Buffer.from(link?.event?.data as Uint8Array).toString(), '0@target');
  await client.replayParkedMessagesToStream('order-1', 'group');
  await consumer.has(2);
  assert.deepEqual(consumer.taken[1]?.event?.data, { n: 7 });
});

test('a group on $all parks and replays as well', async (t) => {
  const { client } = await startServer(t);
  await client.appendToStream('order-1', happenedTimes(3));
  const filter = streamNameFilter({ prefixes: ['order-'] });
  await client.createPersistentSubscriptionToAll('group', allSettings({ startFrom: START }), { filter });
  const consumer = new Consuming(client.subscribeToPersistentSubscriptionToAll('group'), (taken, subscription) =>
    taken.link ? subscription.ack(taken) : park(taken, subscription),
  );
  await until(async () => {
    const { stats } = await client.getPersistentSubscriptionToAllInfo('group');
    return stats.parkedMessageCount === 3n;
  }, 'the parked messages');
  await client.replayParkedMessagesToAll('group', { stopAt: 2 });
  await consumer.has(5);
  assert.deepEqual(consumer.names.slice(3), namesIn('$persistentsubscription-$all::group-parked', 2));
});
