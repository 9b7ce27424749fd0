import { setTimeout as delay } from 'node:timers/promises';
import type { EventStoreDBClient } from '@eventstore/db-client';
import type { Logger } from 'pino';
import type { EventFeed, EventStore } from '#commands/ports.ts';
import type { EventStoreLocation, StoreLocation } from '#infra/config.ts';
import { superviseEventStore } from '#infra/embedded-event-store/supervise.ts';
import { startEmbeddedPostgres } from '#infra/embedded-postgres/embedded-postgres.ts';
import { connectEventStore } from '#infra/event-store/connect.ts';
import { createEventFeed } from '#infra/event-store/event-feed.ts';
import { createEventStore } from '#infra/event-store/event-store.ts';
import { createLogIdentity } from '#infra/event-store/log-identity.ts';
import { createStreamReader } from '#infra/event-store/stream-reader.ts';
import { type Database, openDatabase } from '#infra/postgres/database.ts';
import type { LogIdentity, ReadStream } from '#projections/ports.ts';
import { eventVersions, upcast } from './event-registry.ts';
import { projections } from './read-model.ts';

type PostgresSettings = Parameters<typeof openDatabase>[0];

export type Stores = Readonly<{
  store: EventStore;
  feed: EventFeed;
  /** For projections that take up a stream which they had parked. */
  readStream: ReadStream;
  /** Which log it is. */
  logIdentity: LogIdentity;
  database: Database;
  /**
   * A client of its own, which the caller closes, for what reads or writes the log as it is stored: calls that it breaks off
   * cost a client its connection.
   */
  connectEventStore: () => EventStoreDBClient;
  /** For clients of the database beside the pool, such as the lease. */
  postgres: PostgresSettings;
  /** Processes of the embedded stores; undefined for stores elsewhere, and while one is being restarted. */
  pids: () => Readonly<{ eventStore: number | undefined; postgres: number | undefined }>;
  close: () => Promise<void>;
}>;

type Opened<T> = T & Readonly<{ pid: () => number | undefined; close: () => Promise<void> }>;

const disposeTimeoutMs = 1_000;

const none = { pid: () => undefined, close: async () => undefined };

const openEventStore = async (
  location: EventStoreLocation,
  log: Logger,
): Promise<Opened<{ connectionString: string }>> => {
  if (location.kind === 'external') return { connectionString: location.url, ...none };
  const { dataDir, scavengeEverySeconds } = location;
  const { connectionString, pid, stop } = await superviseEventStore({ dataDir, scavengeEverySeconds, log });
  return { connectionString, pid, close: stop };
};

const openPostgres = async (
  location: StoreLocation,
  log: Logger,
  signal: AbortSignal,
): Promise<Opened<{ settings: PostgresSettings }>> => {
  if (location.kind === 'external') return { settings: { connectionString: location.url }, ...none };
  const { connection, pid, stop } = await startEmbeddedPostgres({ dataDir: location.dataDir, log }, signal);
  return { settings: { ...connection }, pid, close: stop };
};

/** What one start has opened is closed again when another fails. */
const bothOrNone = async <A extends Opened<unknown>, B extends Opened<unknown>>(
  first: Promise<A>,
  second: Promise<B>,
): Promise<readonly [A, B]> => {
  const [a, b] = await Promise.allSettled([first, second]);
  if (a.status === 'fulfilled' && b.status === 'fulfilled') return [a.value, b.value];
  for (const result of [a, b]) if (result.status === 'fulfilled') await result.value.close();
  throw a.status === 'rejected' ? a.reason : (b as PromiseRejectedResult).reason;
};

/** Opens both stores, embedded or elsewhere, and brings the tables to the newest version. */
export const openStores = async (
  where: Readonly<{ eventStore: EventStoreLocation; database: StoreLocation }>,
  log: Logger,
  signal: AbortSignal,
): Promise<Stores> => {
  const [eventStore, postgres] = await bothOrNone(
    openEventStore(where.eventStore, log.child({ part: 'event-store' })),
    openPostgres(where.database, log.child({ part: 'postgres' }), signal),
  );
  const closeServers = async (): Promise<void> => {
    await Promise.all([eventStore.close(), postgres.close()]);
  };
  try {
    const client = connectEventStore(eventStore.connectionString);
    const database = await openDatabase(postgres.settings, projections);
    const feed = createEventFeed({ client, upcast });
    return {
      store: createEventStore({ client, upcast, versions: eventVersions }),
      feed,
      logIdentity: createLogIdentity(client, feed.head),
      readStream: createStreamReader({ client, upcast }),
      database,
      connectEventStore: () => connectEventStore(eventStore.connectionString),
      postgres: postgres.settings,
      pids: () => ({ eventStore: eventStore.pid(), postgres: postgres.pid() }),
      close: async () => {
        await database.close();
        // It waits for calls that were broken off, some of which never tell that they are over.
        await Promise.race([client.dispose(), delay(disposeTimeoutMs, undefined, { ref: false })]);
        await closeServers();
      },
    };
  } catch (error) {
    await closeServers();
    throw error;
  }
};
