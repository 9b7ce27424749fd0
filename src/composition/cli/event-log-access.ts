import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { EventStoreDBClient } from '@eventstore/db-client';
import { z } from 'zod';
import type { Config, EventStoreLocation } from '#infra/config.ts';
import { lockDataDir } from '#infra/data-dir-lock.ts';
import { superviseEventStore } from '#infra/embedded-event-store/supervise.ts';
import { connectEventStore } from '#infra/event-store/connect.ts';
import { closeClient } from '#infra/event-transfer/client-calls.ts';
import { createLogger } from '#infra/logger.ts';

export type EventLog = Readonly<{
  client: EventStoreDBClient;
  /** Whose log it is, for people; without credentials. */
  source: string;
}>;

type Access = 'read' | 'write';

const Address = z.object({ connection: z.string(), pid: z.number().int().positive() });

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
};

/** Of the embedded store that runs in a directory, be it a hub's or alone. */
const runningStore = async (dataDir: string): Promise<string | undefined> => {
  const text = await readFile(join(dataDir, 'event-store.json'), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  if (text === undefined) return undefined;
  const { connection, pid } = Address.parse(JSON.parse(text));
  return isAlive(pid) ? connection : undefined;
};

/** Hosts and ports of a connection string; what stands before the @ is secret. */
export const hostsOf = (connection: string): string =>
  /^esdb(?:\+discover)?:\/\/(?:[^/?]*@)?([^/?]+)/.exec(connection)?.[1] ?? 'elsewhere';

const use = async <T>(connection: string, source: string, work: (log: EventLog) => Promise<T>): Promise<T> => {
  const client = connectEventStore(connection);
  try {
    return await work({ client, source });
  } finally {
    await closeClient(client);
  }
};

/** Of a hub that stands still: its store is started for as long as the work takes. */
const useStopped = async <T>(
  { dataDir, scavengeEverySeconds }: Omit<Extract<EventStoreLocation, { kind: 'embedded' }>, 'kind'>,
  source: string,
  work: (log: EventLog) => Promise<T>,
): Promise<T> => {
  const log = createLogger({ level: 'error' });
  const store = await superviseEventStore({ dataDir, scavengeEverySeconds, log });
  try {
    return await use(store.connectionString, source, work);
  } finally {
    await store.stop();
  }
};

/**
 * Opens the event store that the settings name: one elsewhere, that of the running hub, or that of a stopped one. Whoever
 * writes holds the data directory's lock meanwhile, so that no hub works on a history that is still growing. Throws
 * `DataDirLocked`.
 */
export const withEventLog = async <T>(
  { dataDir, eventStore }: Pick<Config, 'dataDir' | 'eventStore'>,
  access: Access,
  work: (log: EventLog) => Promise<T>,
): Promise<T> => {
  const running = eventStore.kind === 'embedded' ? await runningStore(eventStore.dataDir) : undefined;
  const connection = eventStore.kind === 'external' ? eventStore.url : running;
  const source =
    eventStore.kind === 'external' ? `event store at ${hostsOf(eventStore.url)}` : `embedded event store of ${dataDir}`;
  if (access === 'read' && connection !== undefined) return use(connection, source, work);
  const lock = lockDataDir(dataDir, 'sendense events');
  try {
    if (eventStore.kind === 'external') return await use(eventStore.url, source, work);
    if (running !== undefined) return await use(running, source, work);
    return await useStopped(eventStore, source, work);
  } finally {
    lock.release();
  }
};
