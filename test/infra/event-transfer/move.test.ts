import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import {
  binaryEvent,
  type EventStoreDBClient,
  jsonEvent,
  StreamDeletedError,
  StreamNotFoundError,
} from '@eventstore/db-client';
import { createEventStore } from '#infra/event-store/event-store.ts';
import { ImportRefused } from '#infra/event-transfer/file-set.ts';
import { collect, happened, happenedTimes, revisionsOf, startServer } from '../embedded-event-store/support.ts';
import { appendRaw, comparable, exportTo, fileIn, fill, historyOf, importFrom } from './support.ts';

const odd = [
  '{"big":9223372036854775807,"tiny":1e-400,"same":1,"same":2}',
  '{ "spaces" : [ 1.0 , 2 ] }',
  '{\n  "lines": "pretty\\nprinted"\n}',
  '"no object \u2028 ü \\u0000"',
  'not JSON at all',
  '',
];

/** Everything that a log can hold. */
const makeHistory = async (client: EventStoreDBClient): Promise<void> => {
  await client.appendToStream('plain-1', happenedTimes(3));
  await client.setStreamMetadata('plain-1', { maxCount: 2, own: { $tb: 'mine' } });
  const binary = binaryEvent({
    type: 'Bytes',
    data: Uint8Array.of(0, 255, 10, 13),
    metadata: Uint8Array.of(7, 0, 200),
  });
  await client.appendToStream('plain-2', [binary, happened(1)]);
  for (const [index, text] of odd.entries()) {
    const place = { stream: 'odd-ü', expected: BigInt(index) - 1n, id: randomUUID() };
    await appendRaw(client, place, { data: Buffer.from(text), metadata: Buffer.from(text) });
  }
  await client.appendToStream('truncated-1', happenedTimes(5));
  await client.setStreamMetadata('truncated-1', { truncateBefore: 3 });
  await client.appendToStream('deleted-1', happenedTimes(2));
  await client.deleteStream('deleted-1');
  await client.appendToStream('revived-1', happenedTimes(2));
  await client.deleteStream('revived-1');
  await client.appendToStream('plain-1', happenedTimes(2, 3));
  await client.appendToStream('revived-1', happenedTimes(2, 2));
  await client.appendToStream('changed-1', happened(0));
  await client.deleteStream('changed-1');
  await client.setStreamMetadata('changed-1', { maxCount: 5 });
  await client.appendToStream('changed-1', happened(1));
  await client.appendToStream('gone-1', happenedTimes(2));
  await client.tombstoneStream('gone-1');
  await client.tombstoneStream('never-1');
  const link = { ...binaryEvent({ type: '$>', data: Buffer.from('1@plain-2') }) };
  await client.appendToStream('links-1', link);
};

const assertReadsTheSame = async (client: EventStoreDBClient): Promise<void> => {
  assert.deepEqual(revisionsOf(await collect(client.readStream('plain-1'))), [3, 4]);
  assert.deepEqual(revisionsOf(await collect(client.readStream('truncated-1'))), [3, 4]);
  assert.deepEqual(revisionsOf(await collect(client.readStream('revived-1'))), [2, 3]);
  assert.deepEqual(revisionsOf(await collect(client.readStream('changed-1'))), [1]);
  await assert.rejects(collect(client.readStream('deleted-1')), StreamNotFoundError);
  for (const stream of ['gone-1', 'never-1'])
    await assert.rejects(collect(client.readStream(stream)), StreamDeletedError);
  const [resolved] = await collect(client.readStream('links-1', { resolveLinkTos: true }));
  assert.deepEqual([resolved?.event?.streamId, resolved?.event?.revision], ['plain-2', 1n]);
};

test('a moved history is the same event by event: bytes, order, limits, deletions, links', async (t) => {
  const [source, target] = [await startServer(t), await startServer(t)];
  await makeHistory(source.client);
  const path = await fileIn(t);
  const { events } = await exportTo(source.client, path);
  const before = await historyOf(source.client);
  assert.equal(events, before.length);
  const imported = await importFrom(target.client, path);
  assert.deepEqual(imported, { events, written: events, present: 0, gaps: 0 });
  assert.deepEqual(comparable(await historyOf(target.client)), comparable(before));
  await assertReadsTheSame(source.client);
  await assertReadsTheSame(target.client);
});

test('an import that is repeated writes nothing, and what was moved can be moved on', async (t) => {
  const [source, target, third] = [await startServer(t), await startServer(t), await startServer(t)];
  await makeHistory(source.client);
  const [path, again] = [await fileIn(t), await fileIn(t)];
  const { events } = await exportTo(source.client, path);
  await importFrom(target.client, path);
  assert.deepEqual(await importFrom(target.client, path), { events, written: 0, present: events, gaps: 0 });
  assert.equal((await historyOf(target.client)).length, events);
  await exportTo(target.client, again);
  await importFrom(third.client, again);
  assert.deepEqual(comparable(await historyOf(third.client)), comparable(await historyOf(source.client)));
});

test('a moved event keeps its time and tells its first position', async (t) => {
  const [source, target] = [await startServer(t), await startServer(t)];
  const options = { upcast: (_type: string, _version: number, data: object) => data, versions: {} };
  const store = createEventStore({ client: source.client, ...options });
  const context = { actor: 'someone', correlationId: 'c', causationId: 'e', commandId: randomUUID() };
  await store.append('thing-1', [{ type: 'Happened', data: { n: 1 } }], -1n, context);
  const [before] = (await store.read('thing-1')).events;
  const path = await fileIn(t);
  await exportTo(source.client, path);
  // So that the moved event's own time differs in any case.
  while (new Date().toISOString() === before?.recordedAt) await new Promise(setImmediate);
  await importFrom(target.client, path);
  const [after] = (await createEventStore({ client: target.client, ...options }).read('thing-1')).events;
  assert.equal(after?.recordedAt, before?.recordedAt);
  assert.deepEqual([after?.id, after?.metadata.$causationId, after?.metadata.by], [before?.id, 'e', 'someone']);
  const [stored] = await collect(target.client.readStream('thing-1'));
  assert.ok(stored?.event && stored.event.created.toISOString() > (before?.recordedAt ?? ''));
  const { $exported } = stored.event.metadata as { $exported: { position: string; created: string } };
  assert.equal($exported.position, String(before?.position));
  assert.equal($exported.created, `${before?.recordedAt.slice(0, -1)}0000Z`);
});

test('a later part goes on where the first ended, and is refused where that is missing', async (t) => {
  const [source, target, empty] = [await startServer(t), await startServer(t), await startServer(t)];
  await source.client.appendToStream('a-1', happenedTimes(3));
  await source.client.appendToStream('b-1', happenedTimes(2));
  const [first, second] = [await fileIn(t), await fileIn(t)];
  const { last } = await exportTo(source.client, first);
  await source.client.appendToStream('a-1', happenedTimes(2, 3));
  await source.client.deleteStream('a-1');
  await source.client.setStreamMetadata('b-1', { maxAge: 3600 });
  await source.client.appendToStream('b-1', happened(2));
  assert.equal((await exportTo(source.client, second, { from: (last?.position ?? 0n) + 1n })).events, 5);
  await assert.rejects(importFrom(empty.client, second), (error: unknown) => {
    assert.ok(error instanceof ImportRefused);
    assert.match(error.message, /go on after b-1 revision 1, which the target does not hold/);
    return true;
  });
  assert.deepEqual(await historyOf(empty.client), []);
  await importFrom(target.client, first);
  await importFrom(target.client, second);
  assert.deepEqual(comparable(await historyOf(target.client)), comparable(await historyOf(source.client)));
  assert.deepEqual(revisionsOf(await collect(target.client.readStream('b-1'))), [0, 1, 2]);
  // Both at once, as from a repository.
  await importFrom(empty.client, first, second);
  assert.deepEqual(comparable(await historyOf(empty.client)), comparable(await historyOf(source.client)));
  await assert.rejects(importFrom(empty.client, second, first), /does not go on where the file before it ends/);
});

test('a target with another history is left as it is', async (t) => {
  const [source, target] = [await startServer(t), await startServer(t)];
  await source.client.appendToStream('a-1', happenedTimes(3));
  const path = await fileIn(t);
  await exportTo(source.client, path);
  await target.client.appendToStream('b-1', happened(1));
  await assert.rejects(importFrom(target.client, path), /The target holds b-1 revision 0, which the files do not/);
  assert.equal((await historyOf(target.client)).length, 1);
  const other = await startServer(t);
  await other.client.appendToStream('a-1', jsonEvent({ type: 'Other', data: {} }));
  await assert.rejects(importFrom(other.client, path), /another event at a-1 revision 0/);
  assert.equal((await historyOf(other.client)).length, 1);
  const limited = await startServer(t);
  await source.client.setStreamMetadata('a-1', { maxCount: 2 });
  await limited.client.setStreamMetadata('a-1', { maxCount: 3 });
  const more = await fileIn(t);
  await exportTo(source.client, more);
  await assert.rejects(importFrom(limited.client, more), /another event at \$\$a-1 revision 0/);
});

test('statistics, users and subscriptions of a server stay with it', async (t) => {
  const [source, target] = [await startServer(t), await startServer(t)];
  await source.client.appendToStream('$stats-127.0.0.1', happened(1));
  await source.client.setStreamMetadata('$ce-thing', { maxCount: 2 });
  await fill(source.client, { streams: 1, each: 1 });
  const path = await fileIn(t);
  assert.equal((await exportTo(source.client, path)).events, 1);
  await importFrom(target.client, path);
  assert.deepEqual(
    (await historyOf(target.client)).map(({ stream }) => stream),
    ['filled-0'],
  );
});
