import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  type AllStreamSubscription,
  CancelledError,
  END,
  type Position,
  START,
  StreamDeletedError,
} from '@eventstore/db-client';
import { Followed } from './followed.ts';
import { happened, happenedTimes, startServer, until } from './support.ts';

describe('a subscription to a stream', () => {
  test('from its start gives what is there, says that it caught up, and goes on live', async (t) => {
    const { client } = await startServer(t);
    await client.appendToStream('order-1', happenedTimes(2));
    await client.appendToStream('order-2', happened(0));
    const followed = new Followed(client.subscribeToStream('order-1', { fromRevision: START }));
    await followed.live();
    await client.appendToStream('order-2', happened(1));
    await client.appendToStream('order-1', happenedTimes(2, 2));
    await followed.has(4);
    assert.deepEqual(followed.log, ['order-1:0', 'order-1:1', 'caught-up', 'order-1:2', 'order-1:3']);
  });

  test('from a revision begins with the one after it', async (t) => {
    const { client } = await startServer(t);
    await client.appendToStream('order-1', happenedTimes(4));
    const followed = new Followed(client.subscribeToStream('order-1', { fromRevision: 1n }));
    assert.deepEqual(await followed.has(2), ['order-1:2', 'order-1:3']);
  });

  test('from its end gives only what is new', async (t) => {
    const { client } = await startServer(t);
    await client.appendToStream('order-1', happenedTimes(4));
    const followed = new Followed(client.subscribeToStream('order-1', { fromRevision: END }));
    await followed.live();
    await client.appendToStream('order-1', happened(4));
    await followed.has(1);
    assert.deepEqual(followed.log, ['caught-up', 'order-1:4']);
  });

  test('that does not exist yet waits for it', async (t) => {
    const { client } = await startServer(t);
    const followed = new Followed(client.subscribeToStream('later'));
    await followed.live();
    await client.appendToStream('later', happened(0));
    assert.deepEqual(await followed.has(1), ['later:0']);
  });

  test('leaves out what metadata hides, and survives a soft delete', async (t) => {
    const { client } = await startServer(t);
    await client.appendToStream('order-1', happenedTimes(4));
    await client.setStreamMetadata('order-1', { truncateBefore: 2 });
    const followed = new Followed(client.subscribeToStream('order-1'));
    await followed.live();
    await client.deleteStream('order-1');
    await client.appendToStream('order-1', happened(4));
    assert.deepEqual(await followed.has(3), ['order-1:2', 'order-1:3', 'order-1:4']);
    assert.equal(followed.error, undefined);
  });

  test('ends with an error after its tombstone', async (t) => {
    const { client } = await startServer(t);
    await client.appendToStream('order-1', happened(0));
    const followed = new Followed(client.subscribeToStream('order-1'));
    await followed.live();
    await client.tombstoneStream('order-1');
    assert.ok((await followed.failure()) instanceof StreamDeletedError);
    assert.deepEqual(followed.events, ['order-1:0', `order-1:${2n ** 63n - 1n}`]);
  });

  test('that is tombstoned already is refused', async (t) => {
    const { client } = await startServer(t);
    await client.tombstoneStream('order-1');
    const followed = new Followed(client.subscribeToStream('order-1'));
    assert.ok((await followed.failure()) instanceof StreamDeletedError);
    assert.deepEqual(followed.log, []);
  });
});

describe('a subscription to $all', () => {
  test('from the start gives the whole log, says that it caught up, and goes on live', async (t) => {
    const { client } = await startServer(t);
    await client.appendToStream('a', happenedTimes(2));
    const followed = new Followed(client.subscribeToAll());
    await followed.live();
    await client.appendToStream('b', happened(0));
    await followed.has(4);
    assert.deepEqual(followed.log, ['$$$stats:0', 'a:0', 'a:1', 'caught-up', 'b:0']);
  });

  test('from a position begins with the event after it', async (t) => {
    const { client } = await startServer(t);
    const { position } = await client.appendToStream('a', happened(0));
    await client.appendToStream('b', happened(0));
    assert.ok(position);
    assert.deepEqual(await new Followed(client.subscribeToAll({ fromPosition: position })).has(1), ['b:0']);
  });

  test('from the end gives only what is new', async (t) => {
    const { client } = await startServer(t);
    await client.appendToStream('a', happened(0));
    const followed = new Followed(client.subscribeToAll({ fromPosition: END }));
    await followed.live();
    await client.appendToStream('b', happened(0));
    await followed.has(1);
    assert.deepEqual(followed.log, ['caught-up', 'b:0']);
  });

  test('ends as cancelled when the server stops', async (t) => {
    const { client, server } = await startServer(t);
    const followed = new Followed(client.subscribeToAll());
    await followed.live();
    await server.close();
    assert.ok((await followed.failure()) instanceof CancelledError);
  });
});

test('subscribers that join while many writers write miss nothing, see nothing twice and agree on the order', async (t) => {
  const { client } = await startServer(t);
  const eventsPerWriter = 60;
  const followers: Followed[] = [];
  const write = async (writer: number) => {
    for (let n = 0; n < eventsPerWriter; n++) {
      await client.appendToStream(`writer-${writer}`, happened(n));
      if (n % 20 === 10 && writer === 0) followers.push(new Followed(client.subscribeToAll()));
    }
  };
  await Promise.all(Array.from({ length: 16 }, (_, writer) => write(writer)));
  const total = 16 * eventsPerWriter + 1;
  const logs = await Promise.all(followers.map((followed) => followed.has(total)));
  assert.equal(logs.length, 3);
  for (const log of logs) {
    assert.deepEqual(log, logs[0]);
    assert.equal(new Set(log).size, total);
    const ofOne = log.filter((entry) => entry.startsWith('writer-7:'));
    assert.deepEqual(
      ofOne,
      [...Array(eventsPerWriter).keys()].map((n) => `writer-7:${n}`),
    );
  }
});

const readNext = (subscription: AllStreamSubscription) =>
  (subscription.read() as { event?: { revision: bigint; streamId: string }; commitPosition?: bigint } | null) ??
  undefined;

test('a subscriber that does not read holds nobody up, and later gets everything in order', async (t) => {
  const { client } = await startServer(t);
  const slow = client.subscribeToAll({ fromPosition: START }, { highWaterMark: 4 });
  const quick = new Followed(client.subscribeToAll());
  const text = 'x'.repeat(100_000);
  for (let n = 0; n < 100; n++) await client.appendToStream('large', happened(n, { text }));
  await quick.has(101);
  const positions: bigint[] = [];
  await until(() => {
    for (let next = readNext(slow); next; next = readNext(slow)) positions.push(next.commitPosition ?? 0n);
    return positions.length >= 101;
  }, 'the slow subscriber');
  assert.deepEqual(
    positions,
    positions.toSorted((a, b) => Number(a - b)),
  );
  await slow.unsubscribe();
});

test('two hundred subscriptions share one connection and are all served', async (t) => {
  const { client } = await startServer(t);
  const followers = Array.from({ length: 200 }, (_, n) => new Followed(client.subscribeToStream(`order-${n % 20}`)));
  await Promise.all(followers.map((followed) => followed.live()));
  await Promise.all(Array.from({ length: 20 }, (_, n) => client.appendToStream(`order-${n}`, happened(0))));
  await Promise.all(followers.map((followed) => followed.has(1)));
  assert.deepEqual(followers.map(({ events }) => events).slice(18, 22), [
    ['order-18:0'],
    ['order-19:0'],
    ['order-0:0'],
    ['order-1:0'],
  ]);
});

test('a subscription resumed from the last seen position loses and doubles nothing', async (t) => {
  const { client } = await startServer(t);
  const seen: bigint[] = [];
  let last: Position | undefined;
  const writing = (async () => {
    for (let n = 0; n < 100; n++) await client.appendToStream('order-1', happened(n));
  })();
  while (seen.length < 100) {
    const subscription = client.subscribeToAll({ fromPosition: last ?? START });
    let taken = 0;
    for await (const { event } of subscription) {
      if (event?.streamId !== 'order-1') continue;
      seen.push(event.revision);
      last = event.position;
      taken += 1;
      if (taken === 10 || seen.length === 100) break;
    }
    await subscription.unsubscribe();
  }
  await writing;
  assert.deepEqual(seen, [...Array(100).keys()].map(BigInt));
});
