import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import {
  binaryEvent,
  type EventStoreDBClient,
  START,
  persistentSubscriptionToStreamSettingsFromDefaults as streamSettings,
} from '@eventstore/db-client';
import { spawnStore } from '../child-process.ts';
import { connect, tempDir, until } from '../support.ts';
import { acknowledge, Consuming, namesIn, silence } from './consuming.ts';

const eventCount = 200;
const data = Buffer.alloc(250_000);

const residentMib = async (pid: number): Promise<number> => {
  const [, kib] = /^VmRSS:\s+(\d+) kB$/m.exec(await readFile(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kib) / 1024;
};

const appendLarge = async (client: EventStoreDBClient): Promise<void> => {
  for (let n = 0; n < eventCount; n += 4) {
    const large = () => binaryEvent({ type: 'Large', data });
    await client.appendToStream('large', [large(), large(), large(), large()]);
  }
};

test('consumers that do not read, or do not answer, cost the store little memory and hold up nobody', async (t) => {
  const { ready } = spawnStore(t, await tempDir(t));
  const { connection, pid } = await ready;
  const client = connect(t, connection);
  const settings = { startFrom: START, historyBufferSize: 2000, readBatchSize: 100, messageTimeout: 60_000 } as const;
  for (const group of ['shared', 'silent']) {
    await client.createPersistentSubscriptionToStream('large', group, streamSettings(settings));
  }
  await appendLarge(client);
  const before = await residentMib(pid);
  const join = (group: string, bufferSize: number) =>
    connect(t, connection).subscribeToPersistentSubscriptionToStream('large', group, { bufferSize });
  const deaf = join('shared', eventCount); // nobody reads from it
  const quick = new Consuming(join('shared', 10), acknowledge);
  const silent = new Consuming(join('silent', eventCount), silence);
  await silent.has(eventCount);
  const infoOf = () => client.getPersistentSubscriptionToStreamInfo('large', 'shared');
  await until(async () => {
    const { stats } = await infoOf();
    return stats.readBufferCount === 0 && stats.outstandingMessagesCount + quick.taken.length === eventCount;
  }, 'everything to be sent');
  const grownMib = (await residentMib(pid)) - before;
  // In flight are 48 MiB in the one group and half of that in the other.
  t.diagnostic(`${grownMib.toFixed()} MiB more`);
  assert.ok(grownMib < 30, `${grownMib.toFixed()} MiB more`);
  assert.ok(quick.taken.length > eventCount / 2, `the quick one got ${quick.taken.length}`);
  const late = new Consuming(deaf, acknowledge);
  await late.has(eventCount - quick.taken.length);
  assert.deepEqual([...late.names, ...quick.names].toSorted(), namesIn('large', eventCount).toSorted());
});
