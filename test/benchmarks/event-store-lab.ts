import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { ANY, EventStoreDBClient, jsonEvent, START } from '@eventstore/db-client';
import { credentials, type ServiceError } from '@grpc/grpc-js';
import { execa } from 'execa';
import { eventResponse } from '#infra/embedded-event-store/grpc/read-response.ts';
import { encodeRecordedEvent, encodeStreamName } from '#infra/embedded-event-store/recorded-event.ts';
import { superviseEventStore } from '#infra/embedded-event-store/supervise.ts';
import { createLogger } from '#infra/logger.ts';
import { BareGrpcClient } from './bare-grpc-service.ts';

/** A report of progress, as the hub records most of all. */
const data = {
  phase: 'transferring',
  bytesTransferred: 1 << 20,
  totalBytes: 1 << 26,
  speedBps: 123_456,
  etaSeconds: 9,
};
const type = 'BenchmarkEvent';

const recordOf = (): Buffer =>
  encodeRecordedEvent(
    {
      ...{ id: crypto.randomUUID(), type, contentType: 'application/json' },
      ...{ data: Buffer.from(JSON.stringify(data)), customMetadata: Buffer.from('{}') },
    },
    { streamName: encodeStreamName('benchmark-1'), revision: 100, position: 10_000, createdMs: Date.now() },
  );

export type Store = Readonly<{ client: EventStoreDBClient; close: () => Promise<void> }>;

export const openStore = async (dataDir: string, signal: AbortSignal): Promise<Store> => {
  const log = createLogger({ level: 'silent' });
  const store = await superviseEventStore({ dataDir, log, signal });
  const client = EventStoreDBClient.connectionString(store.connectionString);
  const close = async () => {
    await client.dispose();
    await store.stop();
  };
  return { client, close };
};

/** Its files are memory: everything else is the same. */
export const openMemoryStore = async (signal: AbortSignal): Promise<Store> => {
  const dataDir = await mkdtemp('/dev/shm/sendense-bench-');
  const remove = () => rm(dataDir, { recursive: true, force: true });
  try {
    const store = await openStore(dataDir, signal);
    return { client: store.client, close: () => store.close().finally(remove) };
  } catch (error) {
    await remove();
    throw error;
  }
};

export const appendOne = ({ client }: Store, writer: number): Promise<unknown> =>
  client.appendToStream(`benchmark-${writer}`, [jsonEvent({ type, data })], { expectedRevision: ANY });

/** In appends of a thousand. */
export const seed = async ({ client }: Store, count: number): Promise<void> => {
  for (let left = count; left > 0; left -= 1000) {
    const events = Array.from({ length: Math.min(left, 1000) }, () => jsonEvent({ type, data }));
    await client.appendToStream(`seed-${left}`, events, { expectedRevision: ANY });
  }
};

type Arriving = Readonly<{ on: (name: string, listener: () => void) => unknown }>;

/** Resolves with the milliseconds until so many arrived. */
const untilRead = async (stream: Arriving, count: number): Promise<number> => {
  const startedAtMs = performance.now();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let seen = 0;
  stream.on('data', () => {
    seen += 1;
    if (seen === count) resolve();
  });
  stream.on('error', reject);
  stream.on('end', () => reject(new Error(`only ${seen} of ${count} came`)));
  await promise;
  return performance.now() - startedAtMs;
};

export const readAllTime = ({ client }: Store, count: number): Promise<number> =>
  untilRead(client.readAll({ fromPosition: START, maxCount: count }), count);

export const subscribeTime = async ({ client }: Store, count: number): Promise<number> => {
  const subscription = client.subscribeToAll({ fromPosition: START });
  const tookMs = await untilRead(subscription, count);
  await subscription.unsubscribe();
  return tookMs;
};

export type BareGrpc = Readonly<{
  /** One round trip of nothing. */
  empty: () => Promise<void>;
  /** Milliseconds for that many messages as a reader of $all gets them. */
  repeat: (count: number) => Promise<number>;
  close: () => Promise<void>;
}>;

/** gRPC alone, with a server in a process of its own like the store's. */
export const openBareGrpc = async (): Promise<BareGrpc> => {
  const program = fileURLToPath(import.meta.resolve('./bare-grpc.ts'));
  const subprocess = execa(process.execPath, [program], { stdin: 'pipe', buffer: false });
  const { promise: port, resolve } = Promise.withResolvers<string>();
  createInterface({ input: subprocess.stdout }).once('line', resolve);
  const client = new BareGrpcClient(`127.0.0.1:${await port}`, credentials.createInsecure());
  const call = (name: string, ...args: readonly unknown[]) => client[name]?.apply(client, [...args]);
  return {
    empty: () => {
      const { promise, resolve: answered, reject } = Promise.withResolvers<void>();
      call('empty', Buffer.alloc(0), (error: ServiceError | null) => (error ? reject(error) : answered()));
      return promise;
    },
    repeat: (count) => {
      const head = Buffer.alloc(4);
      head.writeUInt32BE(count);
      const message = eventResponse({ event: recordOf(), position: 10_000 });
      const stream: unknown = call('repeat', Buffer.concat([head, message]));
      return untilRead(stream as Arriving, count);
    },
    close: async () => {
      client.close();
      subprocess.stdin.end();
      await subprocess;
    },
  };
};

/** Writes the bytes of one event and syncs, as a log without anything around it would. */
export const openBareFile = (folder: string) => {
  const file = openSync(join(folder, 'bare-log'), 'w', 0o600);
  const record = recordOf();
  let at = 0;
  return {
    writeAndSync: () => {
      at += writeSync(file, record, 0, record.length, at);
      fsyncSync(file);
    },
    close: () => closeSync(file),
  };
};
