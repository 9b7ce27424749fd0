import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  BACKWARDS,
  END,
  FORWARDS,
  type ReadStreamOptions,
  START,
  StreamDeletedError,
  StreamNotFoundError,
} from '@eventstore/db-client';
import { collect, happened, happenedTimes, revisionsOf, startServer } from './support.ts';

describe('a stream of five events read', () => {
  const cases: readonly (readonly [name: string, options: ReadStreamOptions, revisions: number[]])[] = [
    ['forwards from its start gives all', { fromRevision: START }, [0, 1, 2, 3, 4]],
    ['forwards from a revision includes it', { fromRevision: 3n }, [3, 4]],
    ['forwards from behind its last gives nothing', { fromRevision: 9n }, []],
    ['forwards from its end gives nothing', { fromRevision: END }, []],
    ['forwards gives no more than asked for', { fromRevision: 1n, maxCount: 2 }, [1, 2]],
    ['backwards from its end gives all, last first', { direction: BACKWARDS, fromRevision: END }, [4, 3, 2, 1, 0]],
    ['backwards from a revision includes it', { direction: BACKWARDS, fromRevision: 2n }, [2, 1, 0]],
    ['backwards from behind its last starts at the last', { direction: BACKWARDS, fromRevision: 99n }, [4, 3, 2, 1, 0]],
    ['backwards from its start gives the first', { direction: BACKWARDS, fromRevision: START }, [0]],
    ['backwards gives no more than asked for', { direction: BACKWARDS, fromRevision: END, maxCount: 2 }, [4, 3]],
    [
      'forwards up to the largest count gives all',
      { direction: FORWARDS, maxCount: Number.MAX_SAFE_INTEGER },
      [0, 1, 2, 3, 4],
    ],
  ];
  for (const [name, options, revisions] of cases) {
    test(name, async (t) => {
      const { client } = await startServer(t);
      await client.appendToStream('order-1', happenedTimes(5));
      await client.appendToStream('order-2', happenedTimes(9));
      assert.deepEqual(revisionsOf(await collect(client.readStream('order-1', options))), revisions);
    });
  }
});

test('a stream that does not exist is not found, in either direction', async (t) => {
  const { client } = await startServer(t);
  for (const direction of [FORWARDS, BACKWARDS] as const) {
    await assert.rejects(
      collect(client.readStream('nothing', { direction, fromRevision: direction === FORWARDS ? START : END })),
      (error) => error instanceof StreamNotFoundError && error.streamName === 'nothing',
    );
  }
});

test('a tombstoned stream cannot be read, nor its metadata', async (t) => {
  const { client } = await startServer(t);
  await client.appendToStream('order-ä', happened(1));
  await client.tombstoneStream('order-ä');
  await assert.rejects(collect(client.readStream('order-ä')), (error) => {
    assert.ok(error instanceof StreamDeletedError);
    assert.equal(error.streamName, 'order-%C3%A4');
    return true;
  });
  await assert.rejects(client.getStreamMetadata('order-ä'), StreamDeletedError);
});

test('events larger than a page and more events than a page come complete and in order', async (t) => {
  const { client } = await startServer(t);
  const text = 'x'.repeat(200_000);
  for (let n = 0; n < 8; n++) await client.appendToStream('large', happened(n, { text }));
  await client.appendToStream('many', happenedTimes(1500));
  const large = await collect(client.readStream('large'));
  assert.deepEqual(revisionsOf(large), [0, 1, 2, 3, 4, 5, 6, 7]);
  assert.deepEqual(large.at(-1)?.event?.data, { n: 7, text });
  const many = await collect(client.readStream('many'));
  assert.deepEqual(revisionsOf(many), [...Array(1500).keys()]);
  const backwards = await collect(client.readStream('many', { direction: BACKWARDS, fromRevision: END }));
  assert.deepEqual(revisionsOf(backwards), revisionsOf(many).toReversed());
});

test('a reader that leaves early disturbs nobody', async (t) => {
  const { client } = await startServer(t);
  await client.appendToStream('many', happenedTimes(3000));
  for await (const { event } of client.readStream('many')) {
    if (event?.revision === 5n) break;
  }
  assert.equal((await collect(client.readStream('many'))).length, 3000);
});
