import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import {
  type AppendToStreamOptions,
  EventStoreDBClient,
  type JSONEventType,
  jsonEvent,
  type ResolvedEvent,
} from '@eventstore/db-client';
import {
  createEventStoreServer,
  type EventStoreServer,
  type EventStoreServerOptions,
} from '#infra/embedded-event-store/server.ts';

export type Happened = JSONEventType<'Happened', { n: number; text?: string }>;

export const happened = (n: number, more: Readonly<{ id?: string; text?: string }> = {}) =>
  jsonEvent<Happened>({
    type: 'Happened',
    data: { n, ...(more.text !== undefined && { text: more.text }) },
    ...(more.id !== undefined && { id: more.id }),
  });

export const happenedTimes = (count: number, first = 0) =>
  Array.from({ length: count }, (_, index) => happened(first + index));

export const tempDir = async (t: TestContext): Promise<string> => {
  const dir = await mkdtemp(join(tmpdir(), 'sendense-event-store-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  return dir;
};

export const connect = (t: TestContext, connectionString: string): EventStoreDBClient => {
  const client = EventStoreDBClient.connectionString(connectionString);
  t.after(() => client.dispose());
  return client;
};

/** A server in this process with a client of its own. */
export const startServer = async (
  t: TestContext,
  options: Partial<EventStoreServerOptions> = {},
): Promise<{ client: EventStoreDBClient; server: EventStoreServer; dataDir: string; connectionString: string }> => {
  const dataDir = options.dataDir ?? (await tempDir(t));
  const server = await createEventStoreServer({ ...options, dataDir });
  const connectionString = `esdb://127.0.0.1:${server.port}?tls=false`;
  const client = EventStoreDBClient.connectionString(connectionString);
  t.after(async () => {
    await client.dispose();
    await server.close();
  });
  return { client, server, dataDir, connectionString };
};

/** With credentials the client takes the classic Append, without it BatchAppend; an insecure channel drops them. */
export const waysToAppend: Readonly<Record<string, AppendToStreamOptions>> = {
  BatchAppend: {},
  Append: { credentials: { username: 'nobody', password: 'nothing' } },
};

export const collect = async <E extends ResolvedEvent>(events: AsyncIterable<E>): Promise<E[]> => {
  const all: E[] = [];
  for await (const event of events) all.push(event);
  return all;
};

export const revisionsOf = (events: readonly ResolvedEvent[]): number[] =>
  events.map(({ event }) => Number(event?.revision));

/** Waits until `condition` holds; fails after the deadline. */
export const until = async (condition: () => boolean | Promise<boolean>, what = 'the condition'): Promise<void> => {
  const giveUpAt = performance.now() + 10_000;
  while (!(await condition())) {
    if (performance.now() > giveUpAt) throw new Error(`Waited too long for ${what}.`);
    await setTimeout(5);
  }
};
