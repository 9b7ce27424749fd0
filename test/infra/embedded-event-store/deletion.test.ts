import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  ANY,
  BACKWARDS,
  END,
  type EventStoreDBClient,
  NO_STREAM,
  STREAM_EXISTS,
  StreamDeletedError,
  StreamNotFoundError,
  WrongExpectedVersionError,
} from '@eventstore/db-client';
import { collect, happened, happenedTimes, revisionsOf, startServer } from './support.ts';

const visible = async (client: EventStoreDBClient, stream: string) =>
  revisionsOf(await collect(client.readStream(stream)));

describe('a soft delete', () => {
  test('hides the stream, and the next append brings it back with its numbering going on', async (t) => {
    const { client } = await startServer(t);
    await client.appendToStream('order-1', happenedTimes(3));
    const { position } = await client.deleteStream('order-1', { expectedRevision: 2n });
    assert.ok(position);
    await assert.rejects(collect(client.readStream('order-1')), StreamNotFoundError);
    const revived = await client.appendToStream('order-1', happened(3), { expectedRevision: NO_STREAM });
    assert.equal(revived.nextExpectedRevision, 3n);
    assert.deepEqual(await visible(client, 'order-1'), [3]);
    const { metadata } = await client.getStreamMetadata('order-1');
    assert.deepEqual(metadata, { truncateBefore: 3 });
  });

  test('is followed by an append of any revision or the exact one, but the stream does not exist', async (t) => {
    const { client } = await startServer(t);
    for (const expectedRevision of [ANY, 1n] as const) {
      const stream = `order-${expectedRevision}`;
      await client.appendToStream(stream, happenedTimes(2));
      await client.deleteStream(stream);
      const append = client.appendToStream(stream, happened(2), { expectedRevision: STREAM_EXISTS });
      await assert.rejects(append, StreamDeletedError);
      await client.appendToStream(stream, happened(2), { expectedRevision });
      assert.deepEqual(await visible(client, stream), [2]);
    }
  });

  test('takes the metadata of the stream with it', async (t) => {
    const { client } = await startServer(t);
    await client.appendToStream('order-1', happenedTimes(3));
    await client.setStreamMetadata('order-1', { maxCount: 2, owner: 'me' });
    await client.deleteStream('order-1');
    await client.appendToStream('order-1', happenedTimes(4));
    assert.deepEqual(await visible(client, 'order-1'), [3, 4, 5, 6]);
    assert.deepEqual((await client.getStreamMetadata('order-1')).metadata, { truncateBefore: 3 });
  });

  test('is undone by writing the metadata by hand, which keeps what was written', async (t) => {
    const { client } = await startServer(t);
    await client.appendToStream('order-1', happenedTimes(3));
    await client.deleteStream('order-1');
    await client.setStreamMetadata('order-1', { owner: 'me' });
    assert.deepEqual((await client.getStreamMetadata('order-1')).metadata, { owner: 'me', truncateBefore: 3 });
    assert.deepEqual(await visible(client, 'order-1'), []);
  });

  test('of a stream that does not exist is refused, whatever was expected', async (t) => {
    const { client } = await startServer(t);
    for (const expectedRevision of [ANY, NO_STREAM, 3n] as const) {
      await assert.rejects(client.deleteStream('nothing', { expectedRevision }), (error) => {
        assert.ok(error instanceof WrongExpectedVersionError);
        assert.equal(error.actualVersion, -1n);
        return true;
      });
    }
  });

  test('of a stream that has only metadata is possible', async (t) => {
    const { client } = await startServer(t);
    await client.setStreamMetadata('order-1', { owner: 'me' });
    await client.deleteStream('order-1', { expectedRevision: NO_STREAM });
    await assert.rejects(collect(client.readStream('order-1')), StreamNotFoundError);
  });
});

for (const [what, remove] of [
  [
    'a soft delete',
    (client: EventStoreDBClient, expectedRevision: bigint) => client.deleteStream('order-1', { expectedRevision }),
  ],
  [
    'a tombstone',
    (client: EventStoreDBClient, expectedRevision: bigint) => client.tombstoneStream('order-1', { expectedRevision }),
  ],
] as const) {
  test(`${what} is refused with the wrong revision`, async (t) => {
    const { client } = await startServer(t);
    await client.appendToStream('order-1', happenedTimes(3));
    await assert.rejects(remove(client, 1n), (error) => {
      assert.ok(error instanceof WrongExpectedVersionError);
      assert.deepEqual([error.streamName, error.expectedVersion, error.actualVersion], ['order-1', 1n, 2n]);
      return true;
    });
    assert.deepEqual(await visible(client, 'order-1'), [0, 1, 2]);
  });
}

describe('a tombstone', () => {
  test('is for ever: the stream cannot be read, written, deleted or described again', async (t) => {
    const { client } = await startServer(t);
    await client.appendToStream('order-1', happened(0));
    assert.ok((await client.tombstoneStream('order-1', { expectedRevision: 0n })).position);
    const attempts = [
      () => collect(client.readStream('order-1', { direction: BACKWARDS, fromRevision: END })),
      () => client.appendToStream('order-1', happened(1)),
      () => client.deleteStream('order-1'),
      () => client.tombstoneStream('order-1'),
      () => client.setStreamMetadata('order-1', { owner: 'me' }),
    ];
    for (const attempt of attempts) await assert.rejects(attempt, StreamDeletedError);
  });

  test('is possible for a stream that never existed, and for a soft-deleted one', async (t) => {
    const { client } = await startServer(t);
    await client.tombstoneStream('never', { expectedRevision: NO_STREAM });
    await assert.rejects(client.appendToStream('never', happened(0)), StreamDeletedError);
    await client.appendToStream('soft', happened(0));
    await client.deleteStream('soft');
    await client.tombstoneStream('soft');
    await assert.rejects(collect(client.readStream('soft')), StreamDeletedError);
  });

  test('survives a restart', async (t) => {
    const first = await startServer(t);
    await first.client.appendToStream('order-1', happened(0));
    await first.client.tombstoneStream('order-1');
    await first.server.close();
    const { client } = await startServer(t, { dataDir: first.dataDir });
    await assert.rejects(client.appendToStream('order-1', happened(1)), StreamDeletedError);
  });
});
