import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { EventStoreDBClient } from '@eventstore/db-client';
import { pino } from 'pino';
import { noEvents, StoreUnavailable } from '#commands/ports.ts';
import { superviseEventStore } from '#infra/embedded-event-store/supervise.ts';
import { createEventStore } from '#infra/event-store/event-store.ts';
import { eventVersions, upcast } from '../../../src/composition/event-registry.ts';

const context = () => ({ actor: 'user:admin', correlationId: 'c', commandId: randomUUID() });
const claimed = { type: 'NameClaimed', data: {} };

// The clients are not disposed of: after a broken connection the client library waits for ever for its stream's end.
describe('an event store that is away', () => {
  test('is told as such after a few tries, whether it is read or written', async () => {
    const client = EventStoreDBClient.connectionString('esdb://127.0.0.1:1?tls=false');
    const retry = { attempts: 2, firstDelayMs: 1, maxDelayMs: 2 };
    const store = createEventStore({ client, upcast, versions: eventVersions, retry });
    await assert.rejects(store.read('claim-vmName-x'), StoreUnavailable);
    await assert.rejects(store.append('claim-vmName-x', [claimed], noEvents, context()), StoreUnavailable);
  });

  test('comes back after its process was killed, with all that was acknowledged', async (t) => {
    const dataDir = await mkdtemp(join(tmpdir(), 'sendense-store-'));
    const server = await superviseEventStore({ dataDir, log: pino({ level: 'silent' }) });
    t.after(async () => {
      await server.stop();
      await rm(dataDir, { recursive: true, force: true });
    });
    const client = EventStoreDBClient.connectionString(server.connectionString);
    const store = createEventStore({ client, upcast, versions: eventVersions });
    const stream = `claim-vmName-${randomUUID()}`;
    await store.append(stream, [claimed], noEvents, context());
    const pid = server.pid();
    assert.ok(pid !== undefined);
    process.kill(pid, 'SIGKILL');
    await store.append(stream, [claimed], 0n, context());
    assert.equal((await store.read(stream)).events.length, 2);
  });
});
