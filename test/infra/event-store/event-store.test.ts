import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { EventStoreDBClient, jsonEvent } from '@eventstore/db-client';
import { pino } from 'pino';
import { createUpcaster, UnreadableEvent } from '#domain/event-versions.ts';
import { type SupervisedEventStore, superviseEventStore } from '#infra/embedded-event-store/supervise.ts';
import { createEventFeed } from '#infra/event-store/event-feed.ts';
import { createEventStore } from '#infra/event-store/event-store.ts';
import { eventVersions, upcast } from '../../../src/composition/event-registry.ts';
import { eventStoreContract } from '../../commands/event-store.contract.ts';

const log = pino({ level: 'silent' });
let dataDir: string;
let server: SupervisedEventStore;
let client: EventStoreDBClient;

before(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'sendense-store-'));
  server = await superviseEventStore({ dataDir, log });
  client = EventStoreDBClient.connectionString(server.connectionString);
});

after(async () => {
  // It waits for reads that were broken off, which never tell that they are over.
  await Promise.race([client.dispose(), delay(500, undefined, { ref: false })]);
  await server.stop();
  await rm(dataDir, { recursive: true, force: true });
});

const context = () => ({ actor: 'user:admin', correlationId: 'c', commandId: randomUUID() });

eventStoreContract('the event store over its protocol', async () => ({
  store: createEventStore({ client, upcast, versions: eventVersions }),
  feed: createEventFeed({ client, upcast }),
}));

describe('histories of other versions of the hub', () => {
  const store = () => createEventStore({ client, upcast, versions: eventVersions });
  const write = async (stream: string, type: string, v: number) => {
    const { nextExpectedRevision } = await client.appendToStream(
      stream,
      jsonEvent({ type, data: { n: 1 }, metadata: { by: 'system', v } }),
    );
    return nextExpectedRevision;
  };

  for (const [what, type, v] of [
    ['an unknown event type', 'DiskTeleported', 1],
    ['a newer schema version', 'NameClaimed', 2],
  ] as const) {
    test(`${what} stops who reads the stream to decide`, async () => {
      const stream = `claim-vmName-${randomUUID()}`;
      await write(stream, type, v);
      await assert.rejects(store().read(stream), UnreadableEvent);
    });

    test(`${what} is left out for who follows the log`, async () => {
      const stream = `session-${randomUUID()}`;
      await write(stream, type, v);
      await store().append(stream, [{ type: 'SessionClosed', data: { at: 'now' } }], 0n, context());
      const stop = new AbortController();
      const types: string[] = [];
      const feed = createEventFeed({ client, upcast });
      for await (const item of feed.subscribe(0n, { streamPrefixes: [stream] }, stop.signal)) {
        if (item.kind === 'events') types.push(...item.events.map(({ event }) => event.type));
        if (types.length > 0) stop.abort();
      }
      assert.deepEqual(types, ['SessionClosed']);
    });
  }

  test('older versions are lifted, and new events carry the newest version', async () => {
    const versions = { NameClaimed: 2 };
    const lift = createUpcaster(versions, { 'NameClaimed.v1': (data) => ({ ...data, lifted: true }) });
    const newer = createEventStore({ client, upcast: lift, versions });
    const stream = `claim-vmName-${randomUUID()}`;
    const revision = await write(stream, 'NameClaimed', 1);
    await newer.append(stream, [{ type: 'NameClaimed', data: { n: 2 } }], revision, context());
    const { events } = await newer.read(stream);
    assert.deepEqual(
      events.map(({ event, metadata }) => [event.data, metadata.v]),
      [
        [{ n: 1, lifted: true }, 1],
        [{ n: 2 }, 2],
      ],
    );
  });
});
