import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EventStoreDBClient, Filter } from '@eventstore/db-client';
import {
  type PersistentSubscriptionToAllSettings,
  type PersistentSubscriptionToStreamSettings,
  persistentSubscriptionToAllSettingsFromDefaults,
  persistentSubscriptionToStreamSettingsFromDefaults,
  streamNameFilter,
} from '@kurrent/kurrentdb-client';
import { eventually } from '../../../support/eventually.ts';
import { kurrentdbClient } from '../protocol/kurrentdb-client.ts';
import { newStream, openLane, outcomeOf } from '../protocol/lane.ts';
import { Consuming, namesIn } from './consuming.ts';

const lane = await openLane('insecure', kurrentdbClient);
const { client } = lane;

type Settings = Parameters<EventStoreDBClient['createPersistentSubscriptionToStream']>[2];
type AllSettings = Parameters<EventStoreDBClient['createPersistentSubscriptionToAll']>[1];

const streamSettings = (changes: Partial<PersistentSubscriptionToStreamSettings> = {}) =>
  persistentSubscriptionToStreamSettingsFromDefaults({ startFrom: 'start', ...changes }) as Settings;

const allSettings = (changes: Partial<PersistentSubscriptionToAllSettings> = {}) =>
  persistentSubscriptionToAllSettingsFromDefaults({ startFrom: 'start', ...changes }) as AllSettings;

test('a group is created, described, changed, listed and deleted', async () => {
  const stream = newStream();
  const settings = streamSettings({ consumerStrategyName: 'PinnedByCorrelation', maxRetryCount: 3 });
  await client.createPersistentSubscriptionToStream(stream, 'group', settings);
  assert.equal(
    await outcomeOf(client.createPersistentSubscriptionToStream(stream, 'group', settings)),
    'persistent-subscription-exists',
  );
  const info = await client.getPersistentSubscriptionToStreamInfo(stream, 'group');
  assert.deepEqual([info.settings, info.status], [settings, 'Live']);
  await client.updatePersistentSubscriptionToStream(stream, 'group', streamSettings({ maxRetryCount: 4 }));
  const [listed, ...others] = await client.listPersistentSubscriptionsToStream(stream);
  assert.deepEqual([listed?.settings.maxRetryCount, others], [4, []]);
  await client.deletePersistentSubscriptionToStream(stream, 'group');
  const missing = 'persistent-subscription-does-not-exist';
  assert.equal(await outcomeOf(client.getPersistentSubscriptionToStreamInfo(stream, 'group')), missing);
  assert.equal(await outcomeOf(client.listPersistentSubscriptionsToStream(stream)), missing);
});

test('a group on $all takes what its filter wants, retries, parks and replays', async () => {
  const [stream, other] = [newStream('wanted'), newStream('other')];
  await client.appendToStream(stream, lane.events(3));
  await client.appendToStream(other, lane.events(3));
  const filter = streamNameFilter({ prefixes: ['wanted-'] }) as Filter;
  await client.createPersistentSubscriptionToAll('group', allSettings(), { filter });
  const consumer = new Consuming(client.subscribeToPersistentSubscriptionToAll('group'), (taken, subscription) => {
    if (taken.link) return subscription.ack(taken);
    if (taken.event?.revision === 0n && taken.retryCount === 0) return subscription.nack('retry', 'once more', taken);
    return taken.event?.revision === 1n ? subscription.nack('park', 'no', taken) : subscription.ack(taken);
  });
  await consumer.has(4);
  assert.deepEqual(consumer.names.toSorted(), [`${stream}:0`, ...namesIn(stream, 3)].toSorted());
  await eventually('the parked message', async () => {
    const { stats } = await client.getPersistentSubscriptionToAllInfo('group');
    return stats.parkedMessageCount === 1n;
  });
  await client.replayParkedMessagesToAll('group');
  await consumer.has(5);
  assert.equal(consumer.taken[4]?.event?.revision, 1n);
  await client.deletePersistentSubscriptionToAll('group');
  assert.equal(((await consumer.failure()) as Error & { type?: string }).type, 'persistent-subscription-dropped');
});

test('a group goes on after the store was killed', async () => {
  const stream = newStream();
  await client.appendToStream(stream, lane.events(10));
  const settings = streamSettings({ checkPointUpperBound: 1, checkPointLowerBound: 1 });
  await client.createPersistentSubscriptionToStream(stream, 'group', settings);
  const first = new Consuming(
    client.subscribeToPersistentSubscriptionToStream(stream, 'group'),
    (taken, subscription) => (Number(taken.event?.revision) < 4 ? subscription.ack(taken) : undefined),
  );
  await first.has(10);
  await eventually('the checkpoint', async () => {
    const { stats } = await client.getPersistentSubscriptionToStreamInfo(stream, 'group');
    return stats.lastCheckpointedEventRevision === 3n;
  });
  await lane.store.crashAndRestart();
  await first.failure();
  const again = await eventually('the store', async () => {
    const consumer = new Consuming(client.subscribeToPersistentSubscriptionToStream(stream, 'group'));
    await consumer.has(6);
    return consumer;
  });
  assert.deepEqual(again.names, namesIn(stream, 6, 4));
});

test('everything is restarted', async () => {
  const stream = newStream();
  await client.createPersistentSubscriptionToStream(stream, 'group', streamSettings());
  const consumer = new Consuming(client.subscribeToPersistentSubscriptionToStream(stream, 'group'));
  await consumer.joined();
  await client.restartPersistentSubscriptionSubsystem();
  assert.equal(((await consumer.failure()) as Error & { type?: string }).type, 'persistent-subscription-dropped');
});
