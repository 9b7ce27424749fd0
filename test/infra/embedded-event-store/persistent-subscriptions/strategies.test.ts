import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  persistentSubscriptionToAllSettingsFromDefaults as allSettings,
  binaryEvent,
  type EventStoreDBClient,
  jsonEvent,
  START,
  streamNameFilter,
  persistentSubscriptionToStreamSettingsFromDefaults as streamSettings,
} from '@eventstore/db-client';
import persistentGrpc from '@eventstore/db-client/generated/persistent_grpc_pb.js';
import persistentPb from '@eventstore/db-client/generated/persistent_pb.js';
import { credentials, type ServiceError } from '@grpc/grpc-js';
import { streamNamed } from '../raw-client.ts';
import { happened, happenedTimes, startServer, until } from '../support.ts';
import { type Answer, acknowledge, Consuming, namesIn, silence } from './consuming.ts';

const createGroup = (client: EventStoreDBClient, consumerStrategyName: string) =>
  client.createPersistentSubscriptionToStream(
    'order-1',
    'group',
    streamSettings({ startFrom: START, consumerStrategyName, messageTimeout: 60_000 }),
  );

/** In the order in which they are given: each has joined before the next does. */
const join = async (client: EventStoreDBClient, bufferSize: number, answers: readonly Answer[]) => {
  const consumers: Consuming[] = [];
  for (const answer of answers) {
    const subscription = client.subscribeToPersistentSubscriptionToStream('order-1', 'group', { bufferSize });
    const consumer = new Consuming(subscription, answer);
    await consumer.joined();
    consumers.push(consumer);
  }
  return consumers;
};

const untilTaken = (consumers: readonly Consuming[], count: number) =>
  until(() => consumers.reduce((sum, { taken }) => sum + taken.length, 0) >= count, `${count} messages`);

test('in turns: each consumer gets the next one, those without room are passed over', async (t) => {
  const { client } = await startServer(t);
  await createGroup(client, 'RoundRobin');
  const consumers = await join(client, 2, [silence, silence, silence]);
  await client.appendToStream('order-1', happenedTimes(9));
  await untilTaken(consumers, 6);
  const [first, second, third] = consumers;
  assert.deepEqual(first?.names, ['order-1:0', 'order-1:3']);
  assert.deepEqual(second?.names, ['order-1:1', 'order-1:4']);
  assert.deepEqual(third?.names, ['order-1:2', 'order-1:5']);
  await second?.subscription.ack(...second.taken);
  assert.deepEqual((await second?.has(4))?.slice(2), ['order-1:6', 'order-1:7']);
});

test('to a single one: the others get something only when it has no room', async (t) => {
  const { client } = await startServer(t);
  await createGroup(client, 'DispatchToSingle');
  const consumers = await join(client, 5, [silence, silence]);
  await client.appendToStream('order-1', happenedTimes(7));
  await untilTaken(consumers, 7);
  assert.deepEqual(
    consumers.map(({ names }) => names),
    [namesIn('order-1', 5), namesIn('order-1', 2, 5)],
  );
});

/** Which of the consumers got what by the given property: each value must be with one of them. */
const homesOf = (consumers: readonly Consuming[], of: (consumer: Consuming) => readonly (string | undefined)[]) => {
  const homes = new Map<string | undefined, Set<Consuming>>();
  for (const consumer of consumers) {
    for (const key of of(consumer)) homes.set(key, (homes.get(key) ?? new Set()).add(consumer));
  }
  return homes;
};

test('pinned: the events of a stream go to one consumer, in order, and to another when that is gone', async (t) => {
  const { client } = await startServer(t);
  const streams = Array.from({ length: 12 }, (_, n) => `order-${n}`);
  const filter = streamNameFilter({ prefixes: ['order-'] });
  await client.createPersistentSubscriptionToAll(
    'group',
    allSettings({ startFrom: START, consumerStrategyName: 'Pinned', messageTimeout: 60_000 }),
    { filter },
  );
  const consumers = Array.from(
    { length: 3 },
    () => new Consuming(client.subscribeToPersistentSubscriptionToAll('group')),
  );
  await Promise.all(consumers.map((consumer) => consumer.joined()));
  const appendToAll = async (first: number) => {
    for (let n = first; n < first + 5; n++) {
      await Promise.all(streams.map((stream) => client.appendToStream(stream, happened(n))));
    }
  };
  await appendToAll(0);
  await untilTaken(consumers, 60);
  const streamsOf = (consumer: Consuming) => consumer.taken.map(({ event }) => event?.streamId);
  const homes = homesOf(consumers, streamsOf);
  assert.equal(homes.size, 12);
  for (const [stream, at] of homes) {
    const [home, ...others] = at;
    assert.deepEqual(others, [], stream);
    assert.deepEqual(
      home?.names.filter((name) => name.startsWith(`${stream}:`)),
      namesIn(String(stream), 5),
    );
  }
  for (const consumer of consumers) assert.ok(new Set(streamsOf(consumer)).size >= 2, 'each has its share');
  await consumers[0]?.subscription.unsubscribe();
  await until(async () => {
    const { connections } = await client.getPersistentSubscriptionToAllInfo('group');
    return connections.length === 2;
  }, 'the consumer to be gone');
  await appendToAll(5);
  await untilTaken(consumers, 120);
  for (const [stream, at] of homesOf(consumers.slice(1), streamsOf)) assert.equal(at.size, 1, stream);
});

test('pinned: a consumer without room holds up its streams only', async (t) => {
  const { client } = await startServer(t);
  await createGroup(client, 'Pinned');
  await client.appendToStream(
    'order-1',
    Array.from({ length: 40 }, (_, n) => binaryEvent({ type: '$>', data: Buffer.from(`${n}@source-${n % 8}`) })),
  );
  const [slow, quick] = await join(client, 1, [silence, acknowledge]);
  await until(() => Number(quick?.taken.length) >= 15, 'the quick one');
  assert.equal(slow?.taken.length, 1);
  const sourceOf = (data: unknown) =>
    Buffer.from(data as Uint8Array)
      .toString()
      .split('@')[1];
  const slowSource = sourceOf(slow?.taken[0]?.event?.data);
  assert.ok(quick?.taken.every(({ event }) => sourceOf(event?.data) !== slowSource));
});

/** The client library sends the strategies of its enumeration only; the protocol names them. */
const createNamed = async (port: number, strategy: string): Promise<void> => {
  const stub = new persistentGrpc.PersistentSubscriptionsClient(`127.0.0.1:${port}`, credentials.createInsecure());
  const settings = new persistentPb.CreateReq.Settings().setConsumerStrategy(strategy);
  settings.setHistoryBufferSize(500).setReadBatchSize(20).setLiveBufferSize(500).setMessageTimeoutTicks('600000000');
  settings.setMaxRetryCount(3).setMaxCheckpointCount(100).setMinCheckpointCount(10).setCheckpointAfterTicks('20000000');
  const stream = new persistentPb.CreateReq.StreamOptions()
    .setStreamIdentifier(streamNamed('order-1'))
    .setRevision('0');
  const options = new persistentPb.CreateReq.Options().setStream(stream).setGroupName('group').setSettings(settings);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  stub.create(new persistentPb.CreateReq().setOptions(options), (error: ServiceError | null) =>
    error ? reject(error) : resolve(),
  );
  await promise.finally(() => stub.close());
};

test('pinned by correlation: what belongs together goes to one consumer, from whatever stream', async (t) => {
  const { client, server } = await startServer(t);
  await createNamed(server.port, 'PinnedByCorrelation');
  const info = await client.getPersistentSubscriptionToStreamInfo('order-1', 'group');
  assert.equal(info.settings.consumerStrategyName, 'PinnedByCorrelation');
  assert.deepEqual([info.settings.messageTimeout, info.settings.checkPointAfter], [60_000, 2000]);
  const consumers = await join(client, 100, [acknowledge, acknowledge, acknowledge]);
  const ids = Array.from({ length: 10 }, (_, n) => `job-${n}`);
  for (let n = 0; n < 5; n++) {
    await client.appendToStream(
      'order-1',
      ids.map(($correlationId) => jsonEvent({ type: 'Happened', data: { n }, metadata: { $correlationId } })),
    );
  }
  await untilTaken(consumers, 50);
  const correlationsOf = ({ taken }: Consuming) =>
    taken.map(({ event }) => (event?.metadata as { $correlationId: string } | undefined)?.$correlationId);
  const homes = homesOf(consumers, correlationsOf);
  assert.equal(homes.size, 10);
  for (const [id, at] of homes) assert.equal(at.size, 1, id);
  for (const consumer of consumers) assert.ok(consumer.taken.length > 0, 'each has its share');
  // Without the metadata it is the stream that counts.
  await client.appendToStream('order-1', happenedTimes(6));
  await untilTaken(consumers, 56);
  const later = consumers.map(({ taken }) => taken.slice().filter(({ event }) => event?.metadata === undefined).length);
  assert.deepEqual(later.toSorted(), [0, 0, 6]);
});

test('an unknown strategy is refused', async (t) => {
  const { server } = await startServer(t);
  await assert.rejects(createNamed(server.port, 'Random'), /Consumer strategy Random does not exist/);
});
