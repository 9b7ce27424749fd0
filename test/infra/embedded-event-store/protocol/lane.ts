import { randomUUID } from 'node:crypto';
import { after } from 'node:test';
import type { EventData, EventStoreDBClient, ExpectedRevision, ResolvedEvent } from '@eventstore/db-client';
import { type Credentials, type Mode, type StoreProcess, startStore } from './store-process.ts';

/** A client library: both have the same methods. Their generated code does not bear the other's in one process. */
export type Library = Readonly<{
  name: string;
  /** Reads from the start forwards and from the end backwards, whatever it was told. */
  startAndEndSayDirection: boolean;
  connect: (connectionString: string) => EventStoreDBClient;
  jsonEvent: (event: Readonly<{ type: string; data: object; metadata?: object; id?: string }>) => EventData;
}>;

/** A store of its own and a library to use it with, shared by the tests of one file. */
export class Lane {
  readonly store: StoreProcess;
  readonly library: Library;
  /** In secure mode an administrator's. */
  readonly client: EventStoreDBClient;
  readonly #clients: EventStoreDBClient[] = [];

  constructor(store: StoreProcess, library: Library) {
    this.store = store;
    this.library = library;
    this.client = this.connect();
  }

  connect(credentials?: Credentials | 'anonymous'): EventStoreDBClient {
    const client = this.library.connect(this.store.connectionString(credentials));
    this.#clients.push(client);
    return client;
  }

  event(n: number, more: Readonly<{ id?: string; type?: string; text?: string }> = {}): EventData {
    const { id = randomUUID(), type = 'Happened', text } = more;
    return this.library.jsonEvent({ type, id, data: { n, ...(text !== undefined && { text }) } });
  }

  events(count: number, first = 0): EventData[] {
    return Array.from({ length: count }, (_, index) => this.event(first + index));
  }

  async close(): Promise<void> {
    await Promise.all(this.#clients.map((client) => client.dispose()));
    await this.store.stop();
  }
}

export const openLane = async (mode: Mode, library: Library, more: readonly string[] = []): Promise<Lane> => {
  const lane = new Lane(await startStore(mode, more), library);
  after(() => lane.close());
  return lane;
};

export const newStream = (kind = 'order'): string => `${kind}-${randomUUID()}`;

/** The libraries call it by different names. `stream_exists` is for appends only, as far as their types go. */
export const expecting = (revision: ExpectedRevision | 'stream_exists') => ({
  expectedRevision: revision as ExpectedRevision,
  streamState: revision,
});

export const revisionOf = (text: string): ExpectedRevision => (/^\d+$/.test(text) ? BigInt(text) : (text as 'any'));

export const collect = async (events: AsyncIterable<ResolvedEvent>): Promise<ResolvedEvent[]> => {
  const all: ResolvedEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
};

export const revisionsOf = (events: readonly ResolvedEvent[]): number[] =>
  events.map(({ event }) => Number(event?.revision));

export const numbersOf = (events: readonly ResolvedEvent[]): unknown[] =>
  events.map(({ event }) => (event?.data as Readonly<{ n: number }> | undefined)?.n);

type Failure = Readonly<{ type?: string; actualVersion?: unknown; actualState?: unknown }>;

const describe = (error: unknown): string => {
  const { type, actualVersion, actualState } = error as Failure;
  const actual = actualVersion ?? actualState;
  if (type === undefined) return String(error);
  return type === 'wrong-expected-version' ? `${type}, actual ${actual}` : type;
};

/** What came of it in a word, so that whole tables can be compared. */
export const outcomeOf = async (attempt: Promise<unknown>): Promise<string> => {
  try {
    const done = (await attempt) as Readonly<{ nextExpectedRevision?: bigint }> | undefined;
    return done?.nextExpectedRevision === undefined ? 'done' : `at ${done.nextExpectedRevision}`;
  } catch (error) {
    return describe(error);
  }
};
