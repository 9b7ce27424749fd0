import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  persistentSubscriptionToAllSettingsFromDefaults as allSettings,
  binaryEvent,
  type EventStoreDBClient,
  START,
  type StreamACL,
  persistentSubscriptionToStreamSettingsFromDefaults as streamSettings,
} from '@eventstore/db-client';
import { dbClient } from '../protocol/db-client.ts';
import { newStream, openLane, outcomeOf } from '../protocol/lane.ts';
import { ada, bob, ops } from '../protocol/store-process.ts';
import { Consuming } from './consuming.ts';

const lane = await openLane('secure', dbClient);
const clients = {
  admin: lane.client,
  ops: lane.connect(ops),
  ada: lane.connect(ada),
  anonymous: lane.connect('anonymous'),
};

const settings = streamSettings({ startFrom: START });

const whoMay = async (attempt: (client: EventStoreDBClient) => Promise<unknown>): Promise<string> => {
  const names: string[] = [];
  for (const [name, client] of Object.entries(clients)) {
    const outcome = await outcomeOf(attempt(client));
    assert.match(outcome, /^(done|access-denied)$/, name);
    if (outcome === 'done') names.push(name);
  }
  return names.join(' ');
};

const newGroup = async (): Promise<string> => {
  const stream = newStream();
  await clients.admin.createPersistentSubscriptionToStream(stream, 'group', settings);
  return stream;
};

/** Joins and leaves again. */
const join = async (subscription: ConstructorParameters<typeof Consuming>[0]): Promise<void> => {
  const consumer = new Consuming(subscription);
  await consumer.joined();
  await consumer.subscription.unsubscribe();
};

test('groups are made, changed and removed by operators', async () => {
  const operators = 'admin ops';
  const create = (client: EventStoreDBClient) =>
    client.createPersistentSubscriptionToStream(newStream(), 'g', settings);
  assert.equal(await whoMay(create), operators);
  const createToAll = (client: EventStoreDBClient) =>
    client.createPersistentSubscriptionToAll(newStream(), allSettings());
  assert.equal(await whoMay(createToAll), operators);
  const stream = await newGroup();
  assert.equal(
    await whoMay((client) => client.updatePersistentSubscriptionToStream(stream, 'group', settings)),
    operators,
  );
  assert.equal(await whoMay((client) => client.replayParkedMessagesToStream(stream, 'group')), operators);
  assert.equal(await whoMay((client) => client.restartPersistentSubscriptionSubsystem()), operators);
  const remove = async (client: EventStoreDBClient) =>
    client.deletePersistentSubscriptionToStream(await newGroup(), 'group');
  assert.equal(await whoMay(remove), operators);
});

test('what is told about groups is for everybody who signed in', async () => {
  const stream = await newGroup();
  const known = 'admin ops ada';
  assert.equal(await whoMay((client) => client.getPersistentSubscriptionToStreamInfo(stream, 'group')), known);
  assert.equal(await whoMay((client) => client.listAllPersistentSubscriptions()), known);
});

test('a group is joined by those who may read its stream, and consumers are told by their names', async () => {
  const stream = await newGroup();
  const joinGroup = (client: EventStoreDBClient) =>
    join(client.subscribeToPersistentSubscriptionToStream(stream, 'group'));
  assert.equal(await whoMay(joinGroup), 'admin ops ada');
  await clients.admin.setStreamMetadata(stream, { acl: { readRoles: ['ada'] } as StreamACL });
  assert.equal(await whoMay(joinGroup), 'admin ada');
  const consumer = new Consuming(clients.ada.subscribeToPersistentSubscriptionToStream(stream, 'group'));
  await consumer.joined();
  const { connections } = await clients.ada.getPersistentSubscriptionToStreamInfo(stream, 'group');
  assert.deepEqual(
    connections.map(({ username }) => username),
    ['ada'],
  );
  await clients.admin.createPersistentSubscriptionToAll('all', allSettings());
  assert.equal(await whoMay((client) => join(client.subscribeToPersistentSubscriptionToAll('all'))), 'admin');
});

test('a wrong password is refused', async () => {
  const stranger = lane.connect({ ...bob, password: 'wrong' });
  const stream = await newGroup();
  assert.equal(await outcomeOf(stranger.getPersistentSubscriptionToStreamInfo(stream, 'group')), 'access-denied');
  const refused = await new Consuming(stranger.subscribeToPersistentSubscriptionToStream(stream, 'group')).failure();
  assert.equal((refused as Error & { type?: string }).type, 'access-denied');
});

test('a link is not followed for a consumer who may not read what it leads to', async () => {
  const [secret, links] = [newStream('secret'), newStream('links')];
  await clients.admin.appendToStream(secret, lane.event(0));
  await clients.admin.setStreamMetadata(secret, { acl: { readRoles: ['$admins'] } as StreamACL });
  await clients.admin.appendToStream(links, binaryEvent({ type: '$>', data: Buffer.from(`0@${secret}`) }));
  const resolving = streamSettings({ startFrom: START, resolveLinkTos: true });
  await clients.admin.createPersistentSubscriptionToStream(links, 'group', resolving);
  const consumer = new Consuming(clients.ada.subscribeToPersistentSubscriptionToStream(links, 'group'));
  assert.deepEqual(await consumer.has(1), [`${links}:0`]);
  assert.equal(consumer.taken[0]?.event, undefined);
});
