import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import type { EventStoreDBClient } from '@eventstore/db-client';
import { execa } from 'execa';
import { pino } from 'pino';
import { superviseEventStore } from '#infra/embedded-event-store/supervise.ts';
import { isRunning, untilGone } from './child-process.ts';
import { collect, connect, happened, happenedTimes, revisionsOf, tempDir, until } from './support.ts';

const log = pino({ level: 'silent' });

/** What a client has to do after a lost connection: the same events with the same expectation again. */
const appendSurely = async (client: EventStoreDBClient, revision: number): Promise<void> => {
  const event = happened(revision);
  const expectedRevision = revision === 0 ? 'no_stream' : BigInt(revision - 1);
  await until(async () => {
    const attempt = client.appendToStream('order-1', event, { expectedRevision });
    return attempt.then(
      ({ success }) => success,
      () => false,
    );
  }, 'the store to come back');
};

test('a store that is killed is started again where it was, and the client goes on', async (t) => {
  const store = await superviseEventStore({ dataDir: await tempDir(t), log });
  t.after(() => store.stop());
  const client = connect(t, store.connectionString);
  for (const killAfter of [0, 1]) {
    await appendSurely(client, killAfter);
    const pid = store.pid();
    assert.ok(pid !== undefined);
    process.kill(pid, 'SIGKILL');
    await untilGone(pid);
    await until(() => store.pid() !== undefined && store.pid() !== pid, 'the restart');
  }
  await appendSurely(client, 2);
  assert.deepEqual(revisionsOf(await collect(client.readStream('order-1'))), [0, 1, 2]);
});

test('a stop ends the process for good', async (t) => {
  const store = await superviseEventStore({ dataDir: await tempDir(t), log });
  const pid = store.pid();
  assert.ok(pid !== undefined && (await isRunning(pid)));
  await store.stop();
  assert.equal(await isRunning(pid), false);
  assert.equal(store.pid(), undefined);
  await store.stop();
});

test('an abort of the signal stops it as well', async (t) => {
  const controller = new AbortController();
  const { signal } = controller;
  const store = await superviseEventStore({ dataDir: await tempDir(t), log, signal });
  const pid = store.pid();
  assert.ok(pid !== undefined);
  controller.abort();
  await untilGone(pid);
});

test('a first start that fails rejects with the reason', async (t) => {
  const notADirectory = join(await tempDir(t), 'file');
  await writeFile(notADirectory, '');
  await assert.rejects(superviseEventStore({ dataDir: notADirectory, log }), /EEXIST|ENOTDIR/);
});

test('a store scavenges by itself as often as its supervisor says', async (t) => {
  const store = await superviseEventStore({ dataDir: await tempDir(t), log, scavengeEverySeconds: 0.05 });
  t.after(() => store.stop());
  const client = connect(t, store.connectionString);
  await client.appendToStream('order-1', happenedTimes(3));
  await client.setStreamMetadata('order-1', { maxCount: 1 });
  await until(async () => {
    const log = await collect(client.readAll());
    return log.filter(({ event }) => event?.streamId === 'order-1').length === 1;
  }, 'the scavenge');
});

test('the store ends when its supervisor is killed with -9, and another takes over at once', async (t) => {
  const dataDir = await tempDir(t);
  const script = `
    import { pino } from 'pino';
    import { superviseEventStore } from '#infra/embedded-event-store/supervise.ts';
    const store = await superviseEventStore({ dataDir: process.argv[1], log: pino({ level: 'silent' }) });
    process.stdout.write(store.pid() + '\\n');`;
  const parent = execa(process.execPath, ['--input-type=module', '--eval', script, dataDir], {
    cwd: import.meta.dirname,
    reject: false,
  });
  t.after(() => parent.kill('SIGKILL'));
  const { promise, resolve } = Promise.withResolvers<number>();
  createInterface({ input: parent.stdout }).once('line', (line) => resolve(Number(line)));
  const orphan = await promise;
  parent.kill('SIGKILL');
  await parent;
  const successor = await superviseEventStore({ dataDir, log });
  t.after(() => successor.stop());
  assert.notEqual(successor.pid(), orphan);
  await untilGone(orphan);
});
