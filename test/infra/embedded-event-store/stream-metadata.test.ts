import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { BACKWARDS, END, type EventStoreDBClient, jsonEvent, type StreamMetadata } from '@eventstore/db-client';
import { collect, happened, happenedTimes, revisionsOf, startServer, until } from './support.ts';

const visible = async (client: EventStoreDBClient, stream: string) =>
  revisionsOf(await collect(client.readStream(stream)));

describe('stream metadata', () => {
  const truncations: readonly (readonly [name: string, metadata: StreamMetadata, revisions: number[]])[] = [
    ['$maxCount shows the newest', { maxCount: 2 }, [3, 4]],
    ['$maxCount above the length shows all', { maxCount: 20 }, [0, 1, 2, 3, 4]],
    ['$tb hides what came before', { truncateBefore: 3 }, [3, 4]],
    ['$tb behind the end hides everything, the stream is still there', { truncateBefore: 99 }, []],
    ['the stricter of $maxCount and $tb wins', { maxCount: 4, truncateBefore: 3 }, [3, 4]],
  ];
  for (const [name, metadata, revisions] of truncations) {
    test(`${name}, in either direction and in any range`, async (t) => {
      const { client } = await startServer(t);
      await client.appendToStream('order-1', happenedTimes(5));
      await client.setStreamMetadata('order-1', metadata);
      assert.deepEqual(await visible(client, 'order-1'), revisions);
      const backwards = await collect(client.readStream('order-1', { direction: BACKWARDS, fromRevision: END }));
      assert.deepEqual(revisionsOf(backwards), revisions.toReversed());
      const fromHidden = await collect(client.readStream('order-1', { fromRevision: 1n, maxCount: 1 }));
      assert.deepEqual(revisionsOf(fromHidden), revisions.filter((revision) => revision >= 1).slice(0, 1));
    });
  }

  test('$maxCount follows the stream as it grows', async (t) => {
    const { client } = await startServer(t);
    await client.setStreamMetadata('order-1', { maxCount: 3 });
    for (let n = 0; n < 6; n++) await client.appendToStream('order-1', happened(n));
    assert.deepEqual(await visible(client, 'order-1'), [3, 4, 5]);
  });

  test('$maxAge hides events once they are too old', async (t) => {
    const { client } = await startServer(t);
    await client.appendToStream('order-1', happenedTimes(2));
    await client.setStreamMetadata('order-1', { maxAge: 1 });
    assert.deepEqual(await visible(client, 'order-1'), [0, 1]);
    await until(async () => (await visible(client, 'order-1')).length === 0, 'the events to age');
    await client.appendToStream('order-1', happened(2));
    assert.deepEqual(await visible(client, 'order-1'), [2]);
  });

  test('is kept whole, with keys of its own, cache control and access lists', async (t) => {
    const { client } = await startServer(t);
    const metadata = {
      maxAge: 100,
      cacheControl: 5,
      acl: { readRoles: ['ops'], writeRoles: ['$admins'] },
      owner: { name: 'me' },
    };
    await client.setStreamMetadata('order-1', metadata);
    assert.deepEqual((await client.getStreamMetadata('order-1')).metadata, metadata);
    assert.deepEqual((await client.getStreamMetadata('nothing')).metadata, undefined);
  });

  test('is replaced as a whole by the next, of which alone the metadata stream shows', async (t) => {
    const { client } = await startServer(t);
    await client.appendToStream('order-1', happenedTimes(5));
    await client.setStreamMetadata('order-1', { maxCount: 1 });
    await client.setStreamMetadata('order-1', { owner: 'me' });
    assert.deepEqual(await visible(client, 'order-1'), [0, 1, 2, 3, 4]);
    assert.deepEqual(await visible(client, '$$order-1'), [1]);
    const inLog = (await collect(client.readAll())).filter(({ event }) => event?.streamId === '$$order-1');
    assert.equal(inLog.length, 2);
  });

  test('that makes no sense is ignored, not acted on', async (t) => {
    const { client } = await startServer(t);
    await client.appendToStream('order-1', happenedTimes(3));
    const nonsense: readonly object[] = [{ $maxCount: 0 }, { $maxCount: 'two' }, { $tb: -1 }, { $maxAge: 0.5 }, []];
    for (const data of nonsense) {
      await client.appendToStream('$$order-1', jsonEvent({ type: '$metadata', data: { ...data } }));
      assert.deepEqual(await visible(client, 'order-1'), [0, 1, 2]);
    }
  });

  test('is checked against the expected revision of the metadata stream', async (t) => {
    const { client } = await startServer(t);
    await client.setStreamMetadata('order-1', { owner: 'me' }, { expectedRevision: 'no_stream' });
    await client.setStreamMetadata('order-1', { owner: 'you' }, { expectedRevision: 0n });
    const late = client.setStreamMetadata('order-1', { owner: 'they' }, { expectedRevision: 0n });
    await assert.rejects(late, { type: 'wrong-expected-version' });
  });
});
