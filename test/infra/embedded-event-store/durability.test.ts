import assert from 'node:assert/strict';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { type EventStoreDBClient, NO_STREAM } from '@eventstore/db-client';
import { spawnStore } from './child-process.ts';
import { collect, connect, happened, revisionsOf, startServer, tempDir, until } from './support.ts';

/** Appends pairs of events, each expecting its revision, until the store is gone. Notes how many events it acknowledged. */
const writeUntilGone = async (client: EventStoreDBClient, stream: string, acknowledged: Map<string, number>) => {
  for (let n = 0; ; n += 2) {
    const expectedRevision = n === 0 ? NO_STREAM : BigInt(n - 1);
    await client.appendToStream(stream, [happened(n), happened(n + 1)], { expectedRevision });
    acknowledged.set(stream, n + 2);
  }
};

test('kill -9 in the middle of writing loses no acknowledged event', async (t) => {
  const dataDir = await tempDir(t);
  const { subprocess, ready } = spawnStore(t, dataDir);
  const client = connect(t, (await ready).connection);
  const acknowledged = new Map<string, number>();
  const writers = Array.from({ length: 16 }, (_, n) => writeUntilGone(client, `writer-${n}`, acknowledged));
  const ended = Promise.allSettled(writers);
  await until(() => [...acknowledged.values()].reduce((sum, count) => sum + count, 0) > 500, 'some writes');
  subprocess.kill('SIGKILL');
  await ended;

  const again = connect(t, (await spawnStore(t, dataDir).ready).connection);
  const positions = (await collect(again.readAll())).map(({ commitPosition }) => Number(commitPosition));
  assert.deepEqual(
    positions,
    [...new Set(positions)].toSorted((a, b) => a - b),
  );
  for (const [stream, count] of acknowledged) {
    const revisions = revisionsOf(await collect(again.readStream(stream)));
    assert.deepEqual(revisions, [...revisions.keys()]);
    // The one append in flight may be there without having been acknowledged, but only as a whole.
    assert.ok(revisions.length === count || revisions.length === count + 2, `${stream}: ${revisions.length}, ${count}`);
  }
});

test('an append repeated after a kill -9 with its exact revision is recognised', async (t) => {
  const dataDir = await tempDir(t);
  const first = spawnStore(t, dataDir);
  const event = happened(1);
  const written = await connect(t, (await first.ready).connection).appendToStream('order-1', event, {
    expectedRevision: NO_STREAM,
  });
  first.subprocess.kill('SIGKILL');
  await first.subprocess;
  const client = connect(t, (await spawnStore(t, dataDir).ready).connection);
  assert.deepEqual(await client.appendToStream('order-1', event, { expectedRevision: NO_STREAM }), written);
  assert.equal((await collect(client.readStream('order-1'))).length, 1);
});

test('a full disk refuses appends with a reason, keeps what was acknowledged and goes on reading', async (t) => {
  const dataDir = await tempDir(t);
  const full = await startServer(t, { dataDir, maxSizeBytes: 1024 * 1024 });
  let acknowledged = 0;
  const fill = async () => {
    for (;;) {
      await full.client.appendToStream('order-1', happened(acknowledged, { text: 'x'.repeat(50_000) }));
      acknowledged += 1;
    }
  };
  await assert.rejects(fill(), /no space left/);
  assert.ok(acknowledged > 5);
  const credentials = { username: 'takes', password: 'Append' };
  const classic = full.client.appendToStream('order-1', happened(0, { text: 'x'.repeat(50_000) }), { credentials });
  await assert.rejects(classic, /RESOURCE_EXHAUSTED.*no space left/);
  const kept = [...Array(acknowledged).keys()];
  assert.deepEqual(revisionsOf(await collect(full.client.readStream('order-1'))), kept);
  await full.client.dispose();
  await full.server.close();

  const { client } = await startServer(t, { dataDir });
  assert.deepEqual(revisionsOf(await collect(client.readStream('order-1'))), kept);
  const next = await client.appendToStream('order-1', happened(acknowledged), {
    expectedRevision: BigInt(acknowledged - 1),
  });
  assert.equal(next.nextExpectedRevision, BigInt(acknowledged));
});

test('an append that does not fit leaves no trace: the next one begins where it would have', async (t) => {
  const { client } = await startServer(t, { maxSizeBytes: 512 * 1024 });
  const large = [happened(0), happened(1, { text: 'x'.repeat(900_000) })];
  await assert.rejects(client.appendToStream('order-1', large), /no space left/);
  const { position } = await client.appendToStream('order-1', happened(2), { expectedRevision: NO_STREAM });
  assert.deepEqual(position, { commit: 2n, prepare: 2n });
  const [event, ...others] = await collect(client.readStream('order-1'));
  assert.deepEqual([event?.event?.revision, event?.event?.data, others.length], [0n, { n: 2 }, 0]);
});

test('everything the store keeps is for its user alone', async (t) => {
  const dataDir = join(await tempDir(t), 'event-store');
  const { ready } = spawnStore(t, dataDir);
  await ready;
  assert.equal((await stat(dataDir)).mode & 0o777, 0o700);
  const files = (await readdir(dataDir, { withFileTypes: true })).filter((entry) => entry.isFile());
  assert.ok(files.length >= 3);
  for (const { name } of files) assert.equal((await stat(join(dataDir, name))).mode & 0o777, 0o600, name);
});
