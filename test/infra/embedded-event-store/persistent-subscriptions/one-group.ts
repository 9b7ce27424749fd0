import {
  type EventStoreDBClient,
  type PersistentSubscriptionToStreamSettings,
  START,
  persistentSubscriptionToStreamSettingsFromDefaults as streamSettings,
} from '@eventstore/db-client';
import { type Answer, acknowledge, Consuming } from './consuming.ts';

/** The group that most tests use: from the start of one stream. */
export const createGroup = (
  client: EventStoreDBClient,
  settings: Partial<PersistentSubscriptionToStreamSettings> = {},
): Promise<void> =>
  client.createPersistentSubscriptionToStream('order-1', 'group', streamSettings({ startFrom: START, ...settings }));

export const consume = (client: EventStoreDBClient, answer: Answer = acknowledge, bufferSize = 10): Consuming =>
  new Consuming(client.subscribeToPersistentSubscriptionToStream('order-1', 'group', { bufferSize }), answer);
