import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  persistentSubscriptionToAllSettingsFromDefaults as allSettings,
  PersistentSubscriptionMaximumSubscribersReachedError,
  START,
  streamNameFilter,
} from '@eventstore/db-client';
import { happened, happenedTimes, startServer, until } from '../support.ts';
import { Consuming, namesIn, silence } from './consuming.ts';
import { consume, createGroup } from './one-group.ts';

describe('a message', () => {
  test('that is refused for a retry comes again at once, before new ones, and says how often', async (t) => {
    const { client } = await startServer(t);
    await client.appendToStream('order-1', happenedTimes(3));
    await createGroup(client);
    const consumer = consume(
      client,
      (taken, subscription) =>
        taken.event?.revision === 0n && taken.retryCount < 2
          ? subscription.nack('retry', 'not yet', taken)
          : subscription.ack(taken),
      1,
    );
    await consumer.has(5);
    assert.deepEqual(consumer.names, ['order-1:0', 'order-1:0', ...namesIn('order-1', 3)]);
    assert.deepEqual(consumer.retries, [0, 1, 2, 0, 0]);
  });

  for (const action of ['skip', 'stop'] as const) {
    test(`that is refused with ${action} does not come again`, async (t) => {
      const { client } = await startServer(t);
      await client.appendToStream('order-1', happenedTimes(2));
      await createGroup(client, { messageTimeout: 100 });
      const consumer = consume(client, (taken, subscription) => subscription.nack(action, 'no', taken), 1);
      await consumer.has(2);
      await client.appendToStream('order-1', happened(2));
      assert.deepEqual(await consumer.has(3), namesIn('order-1', 3));
      const { stats } = await client.getPersistentSubscriptionToStreamInfo('order-1', 'group');
      assert.equal(stats.parkedMessageCount, 0n);
    });
  }

  test('that nobody answers for comes again after its time, and is parked after the last retry', async (t) => {
    const { client } = await startServer(t);
    await client.appendToStream('order-1', happened(0));
    await createGroup(client, { messageTimeout: 100, maxRetryCount: 1 });
    const consumer = consume(client, silence);
    await consumer.has(2);
    assert.deepEqual(consumer.retries, [0, 1]);
    await until(async () => {
      const { stats } = await client.getPersistentSubscriptionToStreamInfo('order-1', 'group');
      return stats.parkedMessageCount === 1n && stats.outstandingMessagesCount === 0;
    }, 'the message to be parked');
  });

  test('goes to another consumer when the one that had it is gone', async (t) => {
    const { client } = await startServer(t);
    await createGroup(client, { messageTimeout: 60_000 });
    const gone = consume(client, silence);
    await gone.joined();
    await client.appendToStream('order-1', happenedTimes(5));
    await gone.has(5);
    const heir = consume(client);
    await heir.joined();
    await gone.subscription.unsubscribe();
    assert.deepEqual(await heir.has(5), namesIn('order-1', 5));
    assert.deepEqual(new Set(heir.retries), new Set([1]));
  });

  test('waits while its consumer has as many as it takes', async (t) => {
    const { client } = await startServer(t);
    await client.appendToStream('order-1', happenedTimes(10));
    await createGroup(client);
    const consumer = consume(client, silence, 3);
    await consumer.has(3);
    const { stats, connections } = await client.getPersistentSubscriptionToStreamInfo('order-1', 'group');
    assert.deepEqual([stats.totalInFlightMessages, stats.readBufferCount, stats.totalItems], [3, 7, 3n]);
    assert.deepEqual([connections[0]?.availableSlots, connections[0]?.inFlightMessages], [0, 3]);
    await consumer.subscription.ack(...consumer.taken);
    assert.deepEqual(await consumer.has(6), namesIn('order-1', 6));
  });

  test('with the id of another one in the group is sent once that is answered for', async (t) => {
    const { client } = await startServer(t);
    const id = crypto.randomUUID();
    await client.appendToStream('a', happened(0, { id }));
    await client.appendToStream('b', happened(0, { id }));
    await client.createPersistentSubscriptionToAll('group', allSettings({ startFrom: START }), {
      filter: streamNameFilter({ prefixes: ['a', 'b', 'last'] }),
    });
    const consumer = new Consuming(client.subscribeToPersistentSubscriptionToAll('group'), silence);
    await client.appendToStream('last', happened(0));
    assert.deepEqual(await consumer.has(2), ['a:0', 'last:0']);
    await consumer.subscription.ack(...consumer.taken);
    assert.deepEqual(await consumer.has(3), ['a:0', 'last:0', 'b:0']);
  });
});

test('a group takes no more consumers than it may have', async (t) => {
  const { client } = await startServer(t);
  await createGroup(client, { maxSubscriberCount: 1 });
  const first = consume(client);
  await first.joined();
  const refused = await consume(client).failure();
  assert.ok(refused instanceof PersistentSubscriptionMaximumSubscribersReachedError);
  assert.deepEqual([refused.streamName, refused.groupName], ['order-1', 'group']);
  await first.subscription.unsubscribe();
  await until(async () => {
    const { connections } = await client.getPersistentSubscriptionToStreamInfo('order-1', 'group');
    return connections.length === 0;
  }, 'the place to be free');
  await consume(client).joined();
});

test('many consumers share a long stream: nothing is missed, nothing sent twice', async (t) => {
  const { client } = await startServer(t);
  await createGroup(client, { messageTimeout: 60_000 });
  const consumers = Array.from({ length: 8 }, () => consume(client));
  for (let n = 0; n < 8; n++) await client.appendToStream('order-1', happenedTimes(100, n * 100));
  const names = () => consumers.flatMap((consumer) => consumer.names);
  await until(() => names().length >= 800, 'all messages');
  assert.equal(new Set(names()).size, 800);
  assert.equal(names().length, 800);
});
