import assert from 'node:assert/strict';
import { access, appendFile, readFile, stat, truncate } from 'node:fs/promises';
import { test } from 'node:test';
import { EventStoreDBClient } from '@eventstore/db-client';
import { pino } from 'pino';
import { superviseEventStore } from '#infra/embedded-event-store/supervise.ts';
import { closeClient } from '#infra/event-transfer/client-calls.ts';
import { importEvents } from '#infra/event-transfer/import-events.ts';
import { happened, startServer, tempDir } from '../embedded-event-store/support.ts';
import { comparable, exportTo, fileIn, fill, historyOf, importFrom } from './support.ts';

const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

const size = { streams: 12, each: 300, bytes: 900 };

test('an export that was broken off is gone on with, whatever the crash left of its end', async (t) => {
  const { client } = await startServer(t);
  await fill(client, size);
  const path = await fileIn(t);
  const stop = new AbortController();
  const onProgress = ({ events }: { events: number }) => events >= 3000 && stop.abort();
  await assert.rejects(exportTo(client, path, { onProgress }, stop.signal));
  assert.equal(await exists(path), false);
  const { size: leftBytes } = await stat(`${path}.partial`);
  assert.ok(leftBytes > 1000, `${leftBytes} bytes are left`);
  await truncate(`${path}.partial`, leftBytes - 7);
  await appendFile(`${path}.partial`, Buffer.alloc(300, 0x5a));
  await client.appendToStream('later-1', happened(1));
  const seen: number[] = [];
  const resumed = await exportTo(client, path, { onProgress: ({ events }) => seen.push(events) });
  assert.equal(resumed.resumed, true);
  assert.equal(resumed.events, 3601);
  assert.ok((seen[0] ?? 0) > 1000, `it began anew at ${seen[0]}`);
  assert.equal(await exists(`${path}.partial`), false);
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  const target = await startServer(t);
  await importFrom(target.client, path);
  assert.deepEqual(comparable(await historyOf(target.client)), comparable(await historyOf(client)));
});

test('an export never writes over a file, nor goes on with one of other events', async (t) => {
  const [one, other] = [await startServer(t), await startServer(t)];
  await fill(one.client, size);
  await fill(other.client, size);
  const path = await fileIn(t);
  const stop = new AbortController();
  await assert.rejects(
    exportTo(one.client, path, { onProgress: ({ events }) => events >= 3000 && stop.abort() }, stop.signal),
  );
  await assert.rejects(exportTo(other.client, path), /was begun from another event store/);
  await assert.rejects(exportTo(one.client, path, { from: 5n }), /was begun for other events/);
  await exportTo(one.client, path);
  const content = await readFile(path);
  await assert.rejects(exportTo(one.client, path), /exists already/);
  assert.deepEqual(await readFile(path), content);
});

test('an import that was broken off is gone on with, and nothing is there twice', async (t) => {
  const [source, target] = [await startServer(t), await startServer(t)];
  await fill(source.client, size);
  await source.client.deleteStream('filled-3');
  await source.client.appendToStream('filled-3', happened(1));
  await source.client.tombstoneStream('filled-4');
  const path = await fileIn(t);
  const { events } = await exportTo(source.client, path);
  const stop = new AbortController();
  const onProgress = ({ phase, events: done }: { phase: string; events: number }) =>
    phase === 'importing' && done >= 2500 && stop.abort();
  await assert.rejects(importEvents({ client: target.client, files: [{ path }], onProgress }, stop.signal));
  const half = await historyOf(target.client);
  assert.ok(half.length > 0 && half.length < events, `${half.length} of ${events}`);
  const result = await importFrom(target.client, path);
  assert.ok(result.present > 0 && result.written > 0 && result.present + result.written === events);
  assert.deepEqual(comparable(await historyOf(target.client)), comparable(await historyOf(source.client)));
});

test('a store that is killed in the middle of an import has every event once, in order', async (t) => {
  const source = await startServer(t);
  await fill(source.client, size);
  const path = await fileIn(t);
  await exportTo(source.client, path);
  const store = await superviseEventStore({ dataDir: await tempDir(t), log: pino({ level: 'silent' }) });
  const client = EventStoreDBClient.connectionString(store.connectionString);
  t.after(async () => {
    await closeClient(client);
    await store.stop();
  });
  let kills = 0;
  const onProgress = ({ phase, events }: { phase: string; events: number }) => {
    const pid = store.pid();
    if (phase !== 'importing' || pid === undefined || events < 900 * (kills + 1)) return;
    kills += 1;
    process.kill(pid, 'SIGKILL');
  };
  await importEvents({ client, files: [{ path }], onProgress });
  assert.ok(kills >= 2, `${kills} kills`);
  assert.deepEqual(comparable(await historyOf(client)), comparable(await historyOf(source.client)));
});
