import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  persistentSubscriptionToAllSettingsFromDefaults as allSettings,
  END,
  type EventStoreDBClient,
  START,
  streamNameFilter,
  persistentSubscriptionToStreamSettingsFromDefaults as streamSettings,
} from '@eventstore/db-client';
import { spawnStore } from '../child-process.ts';
import { collect, connect, happened, happenedTimes, startServer, tempDir, until } from '../support.ts';
import { Consuming, namesIn, silence } from './consuming.ts';
import { createGroup } from './one-group.ts';

const checkpointStream = '$persistentsubscription-order-1::group-checkpoint';
const byCountOnly = { checkPointAfter: 0, checkPointLowerBound: 1, checkPointUpperBound: 5 };

const consume = (client: EventStoreDBClient, answer = silence, bufferSize = 100) =>
  new Consuming(client.subscribeToPersistentSubscriptionToStream('order-1', 'group', { bufferSize }), answer);

const checkpoints = async (client: EventStoreDBClient): Promise<unknown[]> => {
  const events = await collect(client.readStream(checkpointStream)).catch(() => []);
  return events.map(({ event }) => [event?.type, event?.data]);
};

const checkpointed = (client: EventStoreDBClient, revision: bigint) =>
  until(async () => {
    const { stats } = await client.getPersistentSubscriptionToStreamInfo('order-1', 'group');
    return stats.lastCheckpointedEventRevision === revision;
  }, `checkpoint ${revision}`);

/** A store in a process of its own, to be killed. */
const startStore = async (t: Parameters<typeof spawnStore>[0], dataDir: string) => {
  const { subprocess, ready } = spawnStore(t, dataDir);
  const client = connect(t, (await ready).connection);
  const kill = async () => {
    subprocess.kill('SIGKILL');
    await subprocess;
  };
  return { client, kill };
};

describe('a checkpoint', () => {
  test('is written when so many events are dealt with, and never passes one that is not', async (t) => {
    const { client } = await startServer(t);
    await client.appendToStream('order-1', happenedTimes(20));
    await createGroup(client, byCountOnly);
    const consumer = consume(client);
    await consumer.has(20);
    const { taken, subscription } = consumer;
    await subscription.ack(...taken.slice(0, 4));
    await subscription.ack(...taken.slice(6));
    await until(async () => {
      const { stats } = await client.getPersistentSubscriptionToStreamInfo('order-1', 'group');
      return stats.outstandingMessagesCount === 2;
    }, 'the answers');
    assert.deepEqual(await checkpoints(client), []);
    await subscription.ack(...taken.slice(4, 5));
    await checkpointed(client, 4n);
    assert.deepEqual(await checkpoints(client), [['$SubscriptionCheckpoint', '4']]);
    await subscription.ack(...taken.slice(5, 6));
    await checkpointed(client, 19n);
    assert.equal((await client.getStreamMetadata(checkpointStream)).metadata?.maxCount, 2);
  });

  test('is written after a time for fewer events, but not for too few', async (t) => {
    const { client } = await startServer(t);
    await client.appendToStream('order-1', happenedTimes(4));
    await createGroup(client, { checkPointAfter: 1, checkPointLowerBound: 3, checkPointUpperBound: 1000 });
    const consumer = consume(client);
    await consumer.has(4);
    await consumer.subscription.ack(...consumer.taken.slice(0, 3));
    await checkpointed(client, 2n);
    assert.deepEqual(await checkpoints(client), [['$SubscriptionCheckpoint', '2']]);
  });

  test('moves on over what the filter of a group on $all leaves out', async (t) => {
    const { client } = await startServer(t);
    await client.createPersistentSubscriptionToAll('group', allSettings({ startFrom: START, ...byCountOnly }), {
      filter: streamNameFilter({ prefixes: ['order-'] }),
    });
    const { position } = await client.appendToStream('other', happenedTimes(50));
    await until(async () => {
      const { stats } = await client.getPersistentSubscriptionToAllInfo('group');
      return Number(stats.lastCheckpointedEventPosition?.commit) > Number(position?.commit) - 5;
    }, 'the checkpoint');
    const stored = '$persistentsubscription-$all::group-checkpoint';
    const [last] = await collect(client.readStream(stored, { direction: 'backwards', fromRevision: END }));
    assert.match(String(last?.event?.data), /^C:\d+\/P:\d+$/);
  });
});

describe('after a stop', () => {
  test('a group goes on where it was, to the event', async (t) => {
    const first = await startServer(t);
    await first.client.appendToStream('order-1', happenedTimes(10));
    await createGroup(first.client, { maxSubscriberCount: 7 });
    const consumer = consume(first.client);
    await consumer.has(10);
    await consumer.subscription.ack(...consumer.taken.slice(0, 3));
    await until(async () => {
      const { stats } = await first.client.getPersistentSubscriptionToStreamInfo('order-1', 'group');
      return stats.outstandingMessagesCount === 7;
    }, 'the answers');
    await first.server.close();
    const { client } = await startServer(t, { dataDir: first.dataDir });
    const { settings } = await client.getPersistentSubscriptionToStreamInfo('order-1', 'group');
    assert.deepEqual(settings, streamSettings({ startFrom: START, maxSubscriberCount: 7 }));
    assert.deepEqual(await consume(client).has(7), namesIn('order-1', 7, 3));
  });

  test('a group that began at the end has lost nothing of what came since', async (t) => {
    const first = await startServer(t);
    await first.client.appendToStream('order-1', happenedTimes(3));
    await createGroup(first.client, { startFrom: END });
    await first.client.createPersistentSubscriptionToAll('group', allSettings({ startFrom: END }), {
      filter: streamNameFilter({ prefixes: ['order-'] }),
    });
    await first.client.appendToStream('order-1', happenedTimes(2, 3));
    await first.server.close();
    const { client } = await startServer(t, { dataDir: first.dataDir });
    assert.deepEqual(await consume(client).has(2), namesIn('order-1', 2, 3));
    const ofAll = new Consuming(client.subscribeToPersistentSubscriptionToAll('group'));
    assert.deepEqual(await ofAll.has(2), namesIn('order-1', 2, 3));
    const { settings } = await client.getPersistentSubscriptionToStreamInfo('order-1', 'group');
    assert.equal(settings.startFrom, END);
  });
});

describe('after a kill -9', () => {
  test('what was created, changed and deleted is as it was acknowledged', async (t) => {
    const dataDir = await tempDir(t);
    const first = await startStore(t, dataDir);
    for (const group of ['kept', 'changed', 'deleted']) {
      await first.client.createPersistentSubscriptionToStream('order-1', group, streamSettings());
    }
    const filter = streamNameFilter({ regex: '^order-[0-9]' });
    await first.client.createPersistentSubscriptionToAll('kept', allSettings({ startFrom: START }), { filter });
    await first.client.updatePersistentSubscriptionToStream(
      'order-1',
      'changed',
      streamSettings({ maxRetryCount: 77 }),
    );
    await first.client.deletePersistentSubscriptionToStream('order-1', 'deleted');
    await first.kill();
    const { client } = await startStore(t, dataDir);
    const groups = await client.listAllPersistentSubscriptions();
    assert.deepEqual(
      groups.map(({ eventSource, groupName, settings }) => [eventSource, groupName, settings.maxRetryCount]),
      [
        ['$all', 'kept', 10],
        ['order-1', 'changed', 77],
        ['order-1', 'kept', 10],
      ],
    );
    await client.appendToStream('other', happened(0));
    await client.appendToStream('order-2', happened(0));
    const consumer = new Consuming(client.subscribeToPersistentSubscriptionToAll('kept'));
    assert.deepEqual(await consumer.has(1), ['order-2:0']);
  });

  test('a group goes on: nothing is lost, and nothing before the checkpoint is sent again', async (t) => {
    const dataDir = await tempDir(t);
    const dealtWith = new Set<string>();
    let count = 0;
    for (let round = 0; round < 2; round++) {
      const { client, kill } = await startStore(t, dataDir);
      if (round === 0) await createGroup(client, { ...byCountOnly, messageTimeout: 60_000 });
      const info = await client.getPersistentSubscriptionToStreamInfo('order-1', 'group');
      const checkpoint = Number(info.stats.lastCheckpointedEventRevision ?? -1n);
      const acknowledged: string[] = [];
      const consumers = Array.from({ length: 2 }, () =>
        consume(
          client,
          async (taken, subscription) => {
            await subscription.ack(taken);
            acknowledged.push(`order-1:${taken.event?.revision}`);
          },
          10,
        ),
      );
      await client.appendToStream('order-1', happenedTimes(100, count));
      count += 100;
      await until(() => acknowledged.length > 50, 'some answers');
      const { stats } = await client.getPersistentSubscriptionToStreamInfo('order-1', 'group');
      await kill();
      for (const name of consumers.flatMap(({ names }) => names)) {
        assert.ok(Number(name.split(':')[1]) > checkpoint, `${name} was sent again behind checkpoint ${checkpoint}`);
      }
      assert.ok(Number(stats.lastCheckpointedEventRevision ?? -1n) >= checkpoint);
      for (const name of acknowledged) dealtWith.add(name);
    }
    const { client } = await startStore(t, dataDir);
    const last = consume(client, (taken, subscription) => subscription.ack(taken));
    await until(() => new Set([...dealtWith, ...last.names]).size >= count, 'every event');
    assert.deepEqual([...new Set([...dealtWith, ...last.names])].toSorted(), namesIn('order-1', count).toSorted());
  });

  test('what was parked stays parked', async (t) => {
    const dataDir = await tempDir(t);
    const first = await startStore(t, dataDir);
    await first.client.appendToStream('order-1', happenedTimes(3));
    await createGroup(first.client, { checkPointUpperBound: 1 });
    const consumer = consume(first.client, (taken, subscription) => subscription.nack('park', 'no', taken));
    await consumer.has(3);
    await checkpointed(first.client, 2n);
    await first.kill();
    const { client } = await startStore(t, dataDir);
    const { stats } = await client.getPersistentSubscriptionToStreamInfo('order-1', 'group');
    assert.equal(stats.parkedMessageCount, 3n);
    await client.replayParkedMessagesToStream('order-1', 'group');
    const again = consume(client, (taken, subscription) => subscription.ack(taken));
    assert.deepEqual(await again.has(3), namesIn('$persistentsubscription-order-1::group-parked', 3));
  });
});
