import { EventStoreDBClient, jsonEvent } from '@eventstore/db-client';
import type { Library } from './lane.ts';

export const dbClient: Library = {
  name: '@eventstore/db-client',
  startAndEndSayDirection: false,
  connect: (connectionString) => EventStoreDBClient.connectionString(connectionString),
  jsonEvent: (event) => jsonEvent({ ...event, data: { ...event.data } }),
};
