import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  persistentSubscriptionToAllSettingsFromDefaults as allSettings,
  binaryEvent,
  END,
  eventTypeFilter,
  excludeSystemEvents,
  type Filter,
  jsonEvent,
  START,
  streamNameFilter,
} from '@eventstore/db-client';
import { collect, happened, happenedTimes, startServer, until } from '../support.ts';
import { Consuming, namesIn } from './consuming.ts';
import { consume, createGroup } from './one-group.ts';

describe('a group on a stream', () => {
  test('from its start gets what is there and then what comes', async (t) => {
    const { client } = await startServer(t);
    await client.appendToStream('order-1', happenedTimes(20));
    await createGroup(client);
    const consumer = consume(client);
    await consumer.has(20);
    await client.appendToStream('other', happenedTimes(3));
    await client.appendToStream('order-1', happenedTimes(4, 20));
    assert.deepEqual(await consumer.has(24), namesIn('order-1', 24));
    assert.deepEqual(new Set(consumer.retries), new Set([0]));
  });

  test('from a revision begins with it', async (t) => {
    const { client } = await startServer(t);
    await client.appendToStream('order-1', happenedTimes(4));
    await createGroup(client, { startFrom: 1n });
    const consumer = consume(client);
    await client.appendToStream('order-1', happened(4));
    assert.deepEqual(await consumer.has(4), namesIn('order-1', 4, 1));
  });

  test('from its end gets what was written after its creation, before a consumer came as well', async (t) => {
    const { client } = await startServer(t);
    await client.appendToStream('order-1', happenedTimes(4));
    await createGroup(client, { startFrom: END });
    await client.appendToStream('order-1', happenedTimes(2, 4));
    const consumer = consume(client);
    await consumer.has(2);
    await client.appendToStream('order-1', happened(6));
    assert.deepEqual(await consumer.has(3), namesIn('order-1', 3, 4));
  });

  test('waits for a stream that does not exist, and goes on after a soft delete', async (t) => {
    const { client } = await startServer(t);
    await createGroup(client);
    const consumer = consume(client);
    await consumer.joined();
    await client.appendToStream('order-1', happenedTimes(2));
    await consumer.has(2);
    await client.deleteStream('order-1');
    await client.appendToStream('order-1', happened(2));
    assert.deepEqual(await consumer.has(3), namesIn('order-1', 3));
  });

  test('leaves out what metadata hides', async (t) => {
    const { client } = await startServer(t);
    await client.appendToStream('order-1', happenedTimes(50));
    await client.setStreamMetadata('order-1', { truncateBefore: 45 });
    await createGroup(client);
    assert.deepEqual(await consume(client).has(5), namesIn('order-1', 5, 45));
  });

  test('lets go of its consumers when the stream is tombstoned', async (t) => {
    const { client } = await startServer(t);
    await client.appendToStream('order-1', happened(0));
    await createGroup(client);
    const consumer = consume(client);
    await consumer.has(1);
    await client.tombstoneStream('order-1');
    assert.match(String(await consumer.failure()), /was dropped/);
    assert.match(String(await consume(client).failure()), /'order-1' is deleted/);
  });

  test('resolves links if it is told to, and takes the id of the link as the answer', async (t) => {
    const { client } = await startServer(t);
    await client.appendToStream('target', happenedTimes(2));
    await client.appendToStream(
      'order-1',
      ['0@target', '1@target', '9@target'].map((target) => binaryEvent({ type: '$>', data: Buffer.from(target) })),
    );
    await createGroup(client, { resolveLinkTos: true, messageTimeout: 500 });
    const consumer = consume(client);
    await consumer.has(3);
    assert.deepEqual(
      consumer.taken.map(({ event, link }) => [event && `${event.streamId}:${event.revision}`, link?.revision]),
      [
        ['target:0', 0n],
        ['target:1', 1n],
        [undefined, 2n],
      ],
    );
    await until(async () => {
      const { stats } = await client.getPersistentSubscriptionToStreamInfo('order-1', 'group');
      return stats.outstandingMessagesCount === 0;
    }, 'the answers');
  });

  test('does not resolve links otherwise', async (t) => {
    const { client } = await startServer(t);
    await client.appendToStream('target', happened(0));
    await client.appendToStream('order-1', binaryEvent({ type: '$>', data: Buffer.from('0@target') }));
    await createGroup(client);
    const consumer = consume(client);
    assert.deepEqual(await consumer.has(1), ['order-1:0']);
    assert.equal(consumer.taken[0]?.link, undefined);
  });
});

describe('a group on $all', () => {
  const filters: Readonly<Record<string, Filter>> = {
    'prefixes of streams': streamNameFilter({ prefixes: ['order-', 'nothing-'] }),
    'a regular expression for streams': streamNameFilter({ regex: '^order-[0-9]+$' }),
    'prefixes of types': eventTypeFilter({ prefixes: ['Happ'] }),
    'a regular expression for types': eventTypeFilter({ regex: '^Hap{2}ened$' }),
  };
  for (const [name, filter] of Object.entries(filters)) {
    test(`takes only what matches ${name}`, async (t) => {
      const { client } = await startServer(t);
      const ignored = () => jsonEvent({ type: 'Ignored', data: {} });
      await client.appendToStream('order-1', happenedTimes(30));
      for (let n = 0; n < 5; n++) await client.appendToStream('ignored', Array.from({ length: 100 }, ignored));
      await client.createPersistentSubscriptionToAll('group', allSettings({ startFrom: START }), { filter });
      const consumer = new Consuming(client.subscribeToPersistentSubscriptionToAll('group'));
      await consumer.has(30);
      await client.appendToStream('ignored', ignored());
      await client.appendToStream('order-2', happened(0));
      assert.deepEqual(await consumer.has(31), [...namesIn('order-1', 30), 'order-2:0']);
    });
  }

  test('without a filter sees system events, but never what it stores about itself', async (t) => {
    const { client } = await startServer(t);
    await client.createPersistentSubscriptionToAll(
      'group',
      allSettings({ startFrom: START, checkPointUpperBound: 1, checkPointLowerBound: 1 }),
    );
    const consumer = new Consuming(client.subscribeToPersistentSubscriptionToAll('group'));
    await client.appendToStream('order-1', happenedTimes(3));
    await until(() => consumer.names.includes('order-1:2'), 'the events');
    assert.equal(consumer.names[0], '$$$stats:0');
    await until(async () => {
      const { stats } = await client.getPersistentSubscriptionToAllInfo('group');
      return stats.outstandingMessagesCount === 0 && stats.lastCheckpointedEventPosition !== undefined;
    }, 'a checkpoint');
    const count = consumer.taken.length;
    await client.appendToStream('order-1', happened(3));
    await consumer.has(count + 1);
    for (let n = 0; n < 50; n++) await client.getPersistentSubscriptionToAllInfo('group');
    const stored = await collect(client.readStream('$persistentsubscription-$all::group-checkpoint'));
    assert.ok(Number(stored.at(-1)?.event?.revision) <= consumer.taken.length, 'its checkpoints are no progress');
    assert.deepEqual(
      consumer.names.filter((name) => /^\$persistentsubscription-\$all::/.test(name)),
      [],
    );
  });

  test('begins at a position, inclusive, or with what comes next', async (t) => {
    const { client } = await startServer(t);
    const filter = excludeSystemEvents();
    await client.appendToStream('order-1', happened(0));
    const { position } = await client.appendToStream('order-1', happened(1));
    assert.ok(position);
    await client.createPersistentSubscriptionToAll('at', allSettings({ startFrom: position }), { filter });
    await client.createPersistentSubscriptionToAll('end', allSettings({ startFrom: END }), { filter });
    await client.appendToStream('order-1', happened(2));
    const at = new Consuming(client.subscribeToPersistentSubscriptionToAll('at'));
    const end = new Consuming(client.subscribeToPersistentSubscriptionToAll('end'));
    assert.deepEqual(await at.has(2), ['order-1:1', 'order-1:2']);
    assert.deepEqual(await end.has(1), ['order-1:2']);
  });
});
