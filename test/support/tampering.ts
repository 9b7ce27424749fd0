import assert from 'node:assert/strict';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { EventStoreDBClient, jsonEvent } from '@eventstore/db-client';
import { pino } from 'pino';
import type { AuditVerification } from '#commands/verify-audit.ts';
import { emptyChain, type SealedEntry, sealAll } from '#domain/audit/chain.ts';
import type { AuditEvent } from '#domain/audit/events.ts';
import { recordSum } from '#infra/embedded-event-store/checksums.ts';
import { createEventStoreServer } from '#infra/embedded-event-store/server.ts';
import { createEventStore } from '#infra/event-store/event-store.ts';
import { createHubAudit } from '../../src/composition/audit.ts';
import { eventVersions, upcast } from '../../src/composition/event-registry.ts';
import { sha256 } from './audit-facts.ts';

const log = pino({ level: 'silent' });
export const storageNode = 'storage-1';
const never = new AbortController().signal;

/** The embedded store of a data directory, opened for as long as the work takes. */
export const withStore = async <T>(dataDir: string, work: (client: EventStoreDBClient) => Promise<T>): Promise<T> => {
  const server = await createEventStoreServer({ dataDir: join(dataDir, 'event-store') });
  const client = EventStoreDBClient.connectionString(`esdb://127.0.0.1:${server.port}?tls=false`);
  try {
    return await work(client);
  } finally {
    await client.dispose();
    await server.close();
  }
};

export const auditOf = (client: EventStoreDBClient) => {
  const store = createEventStore({ client, upcast, versions: eventVersions });
  return { store, audit: createHubAudit({ store, storageNode, log }) };
};

export const verify = (dataDir: string): Promise<AuditVerification> =>
  withStore(dataDir, (client) => auditOf(client).audit.verify(never));

export const inDatabase = (dataDir: string, work: (database: DatabaseSync) => void): void => {
  const database = new DatabaseSync(join(dataDir, 'event-store', 'events.sqlite'));
  try {
    work(database);
  } finally {
    database.close();
  }
};

type Row = Readonly<{ position: number; revision: number; header_sum: number; record: Uint8Array }>;

export const auditRow = (database: DatabaseSync, revision: number): Row =>
  database
    .prepare(
      `select position, revision, header_sum, record from events join streams on streams.id = events.stream
       where streams.name like 'audit-%' and revision = ?`,
    )
    .get(revision) as unknown as Row;

/** Swaps letters in one event of the trail, so that no length changes; its checksum is made good or left. */
export const editEvent = (dataDir: string, revision: number, change: readonly [string, string], mend: boolean): void =>
  inDatabase(dataDir, (database) => {
    const [from, to] = change;
    const row = auditRow(database, revision);
    const record = Buffer.from(row.record);
    const at = record.indexOf(from);
    assert.ok(at > 0 && from.length === to.length);
    record.write(to, at);
    const sum = mend ? ', record_sum = ?' : '';
    const sums = mend ? [recordSum(record, row.header_sum)] : [];
    database.prepare(`update events set record = ?${sum} where position = ?`).run(record, ...sums, row.position);
  });

export type Copied = Readonly<{ type: string; data: Record<string, unknown>; metadata: unknown }>;
export type Rewrite = (stream: string, events: readonly Copied[]) => readonly Copied[];

/** The whole log written anew by the store itself, into another directory: nothing of the store betrays it. */
export const rewriteLog = async (fromDir: string, toDir: string, rewrite: Rewrite): Promise<void> => {
  const streams = await withStore(fromDir, async (client) => {
    const found = new Map<string, Copied[]>();
    for await (const { event } of client.readAll()) {
      if (!event || event.streamId.startsWith('$')) continue;
      const copied = { type: event.type, data: event.data as Copied['data'], metadata: event.metadata };
      found.set(event.streamId, [...(found.get(event.streamId) ?? []), copied]);
    }
    return found;
  });
  await withStore(toDir, async (client) => {
    for (const [stream, events] of streams) {
      const wanted = rewrite(stream, events).map(({ type, data, metadata }) =>
        jsonEvent({ type, data, metadata: metadata as Record<string, unknown> }),
      );
      if (wanted.length > 0) await client.appendToStream(stream, wanted);
    }
  });
};

export const onDay =
  (change: (events: readonly Copied[]) => readonly Copied[]): Rewrite =>
  (stream, events) =>
    stream.startsWith('audit-') ? change(events) : events;

export const entriesOf = ({ data }: Copied): readonly SealedEntry[] => data.entries as readonly SealedEntry[];

/** Somebody who knows how the chain is made, and makes it good from end to end. */
export const forge = (entries: readonly SealedEntry[]): Copied['data'][] => {
  let head = emptyChain;
  return entries.map(({ n: _, hash: __, ...entry }) => {
    const { sealed, head: next } = sealAll([entry], head, sha256);
    const data = { day: entry.at.slice(0, 10), entries: sealed, previousHash: head.hash, hash: next.hash };
    head = next;
    return data satisfies Extract<AuditEvent, { type: 'AuditBatchRecorded' }>['data'];
  });
};
