import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { encodeRecordedEvent, encodeStreamName } from '#infra/embedded-event-store/recorded-event.ts';
import { connect, startServer, tempDir } from '../support.ts';
import { proposed } from './damaged-store.ts';

/** As the first version laid it out: without sums, and unable to shrink. */
const schemaOfVersion1 = `
  create table if not exists streams (
    id integer primary key,
    name text not null unique,
    last integer not null,
    tombstoned integer not null default 0
  ) strict;
  create table if not exists events (
    position integer primary key,
    stream integer not null,
    revision integer not null,
    created_ms integer not null,
    type text not null,
    record blob not null,
    unique (stream, revision)
  ) strict;
`;

test('a store of the first version is converted when it starts, with every event where it was', async (t) => {
  const dataDir = join(await tempDir(t), 'store');
  await mkdir(dataDir, { mode: 0o700 });
  const old = new DatabaseSync(join(dataDir, 'events.sqlite'));
  old.exec(`pragma journal_mode = wal; ${schemaOfVersion1} pragma user_version = 1`);
  old.exec("insert into streams values (1, 'order-1', 2, 0), (2, 'order-2', 0, 0)");
  const insert = old.prepare('insert into events values (?, ?, ?, 1700000000000, ?, ?)');
  const expected: unknown[] = [];
  for (const [position, stream, revision] of [
    [1, 1, 0],
    [2, 2, 0],
    [5, 1, 1], // a gap that a crash of a prototype may have left
    [6, 1, 2],
  ] as const) {
    const streamName = encodeStreamName(`order-${stream}`);
    const event = proposed(`${position}`);
    const place = { streamName, revision, position, createdMs: 1_700_000_000_000 };
    insert.run(position, stream, revision, event.type, encodeRecordedEvent(event, place));
    expected.push([event.id, BigInt(position), `order-${stream}`, BigInt(revision)]);
  }
  old.close();

  const { client, server } = await startServer(t, { dataDir });
  const found: unknown[] = [];
  for await (const { event } of client.readAll()) {
    found.push([event?.id, event?.position?.commit, event?.streamId, event?.revision]);
  }
  assert.deepEqual(found, expected);
  const next = await client.appendToStream('order-1', [], { expectedRevision: 2n });
  assert.equal(next.success, true);
  await client.dispose();
  await server.close();

  const database = new DatabaseSync(join(dataDir, 'events.sqlite'));
  const { auto_vacuum: vacuum } = { ...database.prepare('pragma auto_vacuum').get() };
  database.close();
  assert.equal(vacuum, 2);
  const again = await startServer(t, { dataDir });
  const rest = connect(t, again.connectionString).readStream('order-1');
  let count = 0;
  for await (const _event of rest) count += 1;
  assert.equal(count, 3);
});
