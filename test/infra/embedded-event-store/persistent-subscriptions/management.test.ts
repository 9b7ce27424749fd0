import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  persistentSubscriptionToAllSettingsFromDefaults as allSettings,
  DISPATCH_TO_SINGLE,
  END,
  type EventStoreDBClient,
  eventTypeFilter,
  PersistentSubscriptionDoesNotExistError,
  PersistentSubscriptionDroppedError,
  PersistentSubscriptionExistsError,
  PersistentSubscriptionFailedError,
  type PersistentSubscriptionToStreamSettings,
  PINNED,
  START,
  persistentSubscriptionToStreamSettingsFromDefaults as streamSettings,
} from '@eventstore/db-client';
import { happened, happenedTimes, startServer, until } from '../support.ts';
import { Consuming, namesIn, silence } from './consuming.ts';
import { consume, createGroup } from './one-group.ts';

const infoOf = (client: EventStoreDBClient) => client.getPersistentSubscriptionToStreamInfo('order-1', 'group');

describe('a group that does not exist', () => {
  const calls: Readonly<Record<string, (client: EventStoreDBClient) => Promise<unknown>>> = {
    updated: (client) => client.updatePersistentSubscriptionToStream('order-1', 'group', streamSettings()),
    deleted: (client) => client.deletePersistentSubscriptionToStream('order-1', 'group'),
    described: (client) => client.getPersistentSubscriptionToStreamInfo('order-1', 'group'),
    replayed: (client) => client.replayParkedMessagesToStream('order-1', 'group'),
    joined: async (client) => {
      throw await consume(client).failure();
    },
  };
  for (const [name, call] of Object.entries(calls)) {
    test(`cannot be ${name}`, async (t) => {
      const { client } = await startServer(t);
      await assert.rejects(call(client), (error: unknown) => {
        assert.ok(error instanceof PersistentSubscriptionDoesNotExistError);
        assert.deepEqual([error.streamName, error.groupName], ['order-1', 'group']);
        assert.equal(error.message, '5 NOT_FOUND: Subscription group group on stream order-1 does not exist.');
        return true;
      });
    });
  }

  test('on $all is refused in the same way', async (t) => {
    const { client } = await startServer(t);
    const missing = (error: unknown) =>
      error instanceof PersistentSubscriptionDoesNotExistError && error.streamName === '$all';
    await assert.rejects(client.updatePersistentSubscriptionToAll('group', allSettings()), missing);
    await assert.rejects(client.deletePersistentSubscriptionToAll('group'), missing);
    await assert.rejects(client.getPersistentSubscriptionToAllInfo('group'), missing);
    await assert.rejects(client.replayParkedMessagesToAll('group'), missing);
  });
});

describe('creating a group', () => {
  test('is refused if it exists, also when two do it at once', async (t) => {
    const { client } = await startServer(t);
    const results = await Promise.allSettled([createGroup(client), createGroup(client)]);
    assert.deepEqual(results.map(({ status }) => status).toSorted(), ['fulfilled', 'rejected']);
    await assert.rejects(createGroup(client), PersistentSubscriptionExistsError);
    await client.createPersistentSubscriptionToAll('group', allSettings());
    await assert.rejects(
      client.createPersistentSubscriptionToAll('group', allSettings()),
      PersistentSubscriptionExistsError,
    );
    await client.createPersistentSubscriptionToStream('order-2', 'group', streamSettings());
  });

  test('is refused with a reason if its settings make no sense', async (t) => {
    const { client } = await startServer(t);
    const refused = (settings: Partial<PersistentSubscriptionToStreamSettings>, reason: RegExp) =>
      assert.rejects(createGroup(client, settings), (error: unknown) => {
        assert.ok(error instanceof PersistentSubscriptionFailedError);
        assert.deepEqual([error.streamName, error.groupName], ['order-1', 'group']);
        assert.match(error.reason, reason);
        return true;
      });
    await refused({ readBatchSize: 500, historyBufferSize: 500 }, /read batch size/);
    await refused({ maxRetryCount: -1 }, /maxRetryCount must not be negative/);
    await assert.rejects(infoOf(client), PersistentSubscriptionDoesNotExistError);
    await assert.rejects(
      client.createPersistentSubscriptionToAll('far', allSettings({ startFrom: { commit: 1000n, prepare: 1000n } })),
      /Invalid Start From position/,
    );
    await assert.rejects(
      client.createPersistentSubscriptionToAll('odd', allSettings({ startFrom: { commit: 0n, prepare: 1n } })),
      /Invalid Start From position/,
    );
    await assert.rejects(
      client.createPersistentSubscriptionToAll('odd', allSettings(), { filter: eventTypeFilter({ regex: '(' }) }),
      /no regular expression/,
    );
    await assert.rejects(client.createPersistentSubscriptionToStream('$all', 'odd', streamSettings()), /\$all/);
    assert.deepEqual(await client.listAllPersistentSubscriptions(), []);
  });

  test('takes names from all over the world', async (t) => {
    const { client } = await startServer(t);
    const [stream, group] = ['어학연구소/0️⃣', 'ヽ༼ຈل͜ຈ༽ﾉ'];
    await client.appendToStream(stream, happened(0));
    await client.createPersistentSubscriptionToStream(stream, group, streamSettings({ startFrom: START }));
    const consumer = new Consuming(client.subscribeToPersistentSubscriptionToStream(stream, group));
    assert.deepEqual(await consumer.has(1), [`${stream}:0`]);
    assert.equal((await client.getPersistentSubscriptionToStreamInfo(stream, group)).groupName, group);
  });
});

describe('what is told about a group', () => {
  test('are its settings, as they were given', async (t) => {
    const { client } = await startServer(t);
    const settings = streamSettings({
      startFrom: 123n,
      resolveLinkTos: true,
      extraStatistics: true,
      messageTimeout: 1234,
      maxRetryCount: 3,
      checkPointAfter: 4321,
      checkPointLowerBound: 12,
      checkPointUpperBound: 13,
      maxSubscriberCount: 200,
      liveBufferSize: 14,
      readBatchSize: 15,
      historyBufferSize: 16,
      consumerStrategyName: DISPATCH_TO_SINGLE,
    });
    await createGroup(client, settings);
    const info = await infoOf(client);
    assert.deepEqual(info.settings, settings);
    assert.deepEqual([info.eventSource, info.groupName, info.connections], ['order-1', 'group', []]);
    const updated = streamSettings({ startFrom: END });
    await client.updatePersistentSubscriptionToStream('order-1', 'group', updated);
    assert.deepEqual((await infoOf(client)).settings, updated);
    const { position } = await client.appendToStream('a', happened(0));
    assert.ok(position);
    for (const startFrom of [START, END, position] as const) {
      const ofAll = allSettings({ startFrom });
      await client.createPersistentSubscriptionToAll(JSON.stringify(String(startFrom)), ofAll);
      const told = await client.getPersistentSubscriptionToAllInfo(JSON.stringify(String(startFrom)));
      assert.deepEqual(told.settings, ofAll);
    }
  });

  test('is how far it is, and who takes part', async (t) => {
    const { client } = await startServer(t);
    await createGroup(client, { extraStatistics: true, checkPointUpperBound: 1 });
    const before = await infoOf(client);
    assert.deepEqual([before.status, before.stats.lastKnownEventRevision], ['Live', undefined]);
    await client.appendToStream('order-1', happenedTimes(20));
    const consumer = consume(client);
    await consumer.has(20);
    await until(async () => (await infoOf(client)).stats.lastCheckpointedEventRevision === 19n, 'the checkpoint');
    const { status, stats, connections } = await infoOf(client);
    assert.equal(status, 'Live');
    assert.deepEqual([stats.lastKnownEventRevision, stats.totalItems, stats.totalInFlightMessages], [19n, 20n, 0]);
    const [connection, ...others] = connections;
    assert.deepEqual(others, []);
    assert.equal(connection?.connectionName, client.connectionName);
    assert.equal(connection?.username, 'anonymous');
    assert.equal(connection?.totalItems, 20n);
    assert.match(connection?.from ?? '', /^127\.0\.0\.1:\d+$/);
    assert.equal(typeof connection?.extraStatistics?.get('quintile 3'), 'bigint');
    await consumer.subscription.unsubscribe();
    await until(async () => (await infoOf(client)).connections.length === 0, 'the consumer to be gone');
  });

  test('is that it is behind while it has no room', async (t) => {
    const { client } = await startServer(t);
    await client.appendToStream('order-1', happenedTimes(100));
    await createGroup(client, { historyBufferSize: 20, readBatchSize: 10 });
    await until(async () => (await infoOf(client)).stats.readBufferCount === 10, 'the buffer to be filled');
    const { status, stats } = await infoOf(client);
    assert.deepEqual([status, stats.lastKnownEventRevision], ['Behind', 99n]);
    await consume(client).has(100);
    await until(async () => (await infoOf(client)).status === 'Live', 'the group to catch up');
  });

  test('can be asked of one stream, of $all and of all', async (t) => {
    const { client } = await startServer(t);
    assert.deepEqual(await client.listAllPersistentSubscriptions(), []);
    await assert.rejects(client.listPersistentSubscriptionsToStream('b'), PersistentSubscriptionDoesNotExistError);
    await assert.rejects(client.listPersistentSubscriptionsToAll(), PersistentSubscriptionDoesNotExistError);
    for (const [stream, group] of ['b-1', 'a-2', 'b-0'].map((name) => name.split('-'))) {
      await client.createPersistentSubscriptionToStream(stream ?? '', group ?? '', streamSettings());
    }
    await client.createPersistentSubscriptionToAll('3', allSettings());
    const names = (infos: readonly { eventSource: string; groupName: string }[]) =>
      infos.map(({ eventSource, groupName }) => `${eventSource}-${groupName}`);
    assert.deepEqual(names(await client.listPersistentSubscriptionsToStream('b')), ['b-0', 'b-1']);
    assert.deepEqual(names(await client.listPersistentSubscriptionsToAll()), ['$all-3']);
    assert.deepEqual(names(await client.listAllPersistentSubscriptions()), ['$all-3', 'a-2', 'b-0', 'b-1']);
  });
});

describe('consumers are let go', () => {
  test('when the group is deleted; one of the same name begins anew', async (t) => {
    const { client } = await startServer(t);
    await client.appendToStream('order-1', happenedTimes(3));
    await createGroup(client, { checkPointUpperBound: 1 });
    const consumer = new Consuming(
      client.subscribeToPersistentSubscriptionToStream('order-1', 'group'),
      (taken, subscription) =>
        taken.event?.revision === 1n ? subscription.nack('park', '', taken) : subscription.ack(taken),
    );
    await until(async () => (await infoOf(client)).stats.lastCheckpointedEventRevision === 2n, 'the checkpoint');
    await client.deletePersistentSubscriptionToStream('order-1', 'group');
    const dropped = await consumer.failure();
    assert.ok(dropped instanceof PersistentSubscriptionDroppedError);
    assert.deepEqual([dropped.streamName, dropped.groupName], ['order-1', 'group']);
    assert.deepEqual(await client.listAllPersistentSubscriptions(), []);
    await createGroup(client);
    assert.equal((await infoOf(client)).stats.parkedMessageCount, 0n);
    assert.deepEqual(await consume(client).has(3), namesIn('order-1', 3));
  });

  test('when the group is updated, and it goes on from where it was', async (t) => {
    const { client } = await startServer(t);
    await client.appendToStream('order-1', happenedTimes(3));
    await createGroup(client);
    const consumer = new Consuming(client.subscribeToPersistentSubscriptionToStream('order-1', 'group'), silence);
    await consumer.has(3);
    await consumer.subscription.ack(...consumer.taken.slice(0, 2));
    await until(async () => (await infoOf(client)).stats.outstandingMessagesCount === 1, 'the answers');
    await client.updatePersistentSubscriptionToStream(
      'order-1',
      'group',
      streamSettings({ startFrom: START, consumerStrategyName: PINNED }),
    );
    assert.ok((await consumer.failure()) instanceof PersistentSubscriptionDroppedError);
    await client.appendToStream('order-1', happened(3));
    assert.deepEqual(await consume(client).has(2), namesIn('order-1', 2, 2));
  });

  test('by an update, through which the filter of a group on $all stays', async (t) => {
    const { client } = await startServer(t);
    const filter = eventTypeFilter({ prefixes: ['Happened'] });
    await client.createPersistentSubscriptionToAll('group', allSettings({ startFrom: START }), { filter });
    await client.updatePersistentSubscriptionToAll('group', allSettings({ startFrom: START, maxRetryCount: 1 }));
    await client.appendToStream('order-1', happened(0));
    const consumer = new Consuming(client.subscribeToPersistentSubscriptionToAll('group'));
    assert.deepEqual(await consumer.has(1), ['order-1:0']);
  });

  test('when everything is restarted; the groups are there again', async (t) => {
    const { client } = await startServer(t);
    await createGroup(client);
    const consumer = consume(client);
    await consumer.joined();
    await client.restartPersistentSubscriptionSubsystem();
    assert.ok((await consumer.failure()) instanceof PersistentSubscriptionDroppedError);
    await client.appendToStream('order-1', happened(0));
    assert.deepEqual(await consume(client).has(1), ['order-1:0']);
  });
});
