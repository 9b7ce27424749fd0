import type { EventData, EventStoreDBClient } from '@eventstore/db-client';
import { jsonEvent, KurrentDBClient } from '@kurrent/kurrentdb-client';
import type { Library } from './lane.ts';

/** What is used of it has the shape of its predecessor. */
export const kurrentdbClient: Library = {
  name: '@kurrent/kurrentdb-client',
  startAndEndSayDirection: true,
  connect: (connectionString) =>
    KurrentDBClient.connectionString(connectionString.replace('esdb:', 'kurrentdb:')) as unknown as EventStoreDBClient,
  jsonEvent: (event) => jsonEvent({ ...event, data: { ...event.data } }) as unknown as EventData,
};
