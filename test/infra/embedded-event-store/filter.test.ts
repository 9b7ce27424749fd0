import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  END,
  type EventStoreDBClient,
  eventTypeFilter,
  excludeSystemEvents,
  type Filter,
  jsonEvent,
  type Position,
  streamNameFilter,
} from '@eventstore/db-client';
import streamsPb from '@eventstore/db-client/generated/streams_pb.js';
import { status } from '@grpc/grpc-js';
import { Followed } from './followed.ts';
import { connectRaw, empty, readOptions, readRaw } from './raw-client.ts';
import { happened, startServer, until } from './support.ts';

const typed = (type: string) => jsonEvent({ type, data: {} });

const seed = async (client: EventStoreDBClient) => {
  await client.appendToStream('order-1', [typed('Placed'), typed('Paid')]);
  await client.appendToStream('invoice-1', [typed('Sent')]);
  await client.appendToStream('reorder-1', [typed('Placed')]);
};

describe('a filtered subscription to $all', () => {
  const cases: readonly (readonly [name: string, filter: Filter, events: string[]])[] = [
    ['by a prefix of the stream', streamNameFilter({ prefixes: ['order-'] }), ['order-1:0', 'order-1:1']],
    ['by any of several prefixes', streamNameFilter({ prefixes: ['inv', 'reo'] }), ['invoice-1:0', 'reorder-1:0']],
    [
      'by a pattern of the stream, anywhere in it',
      streamNameFilter({ regex: 'order' }),
      ['order-1:0', 'order-1:1', 'reorder-1:0'],
    ],
    ['by an anchored pattern', streamNameFilter({ regex: '^order-\\d$' }), ['order-1:0', 'order-1:1']],
    ['by a prefix of the type', eventTypeFilter({ prefixes: ['Pa', 'Se'] }), ['order-1:1', 'invoice-1:0']],
    [
      'by a pattern of the type',
      eventTypeFilter({ regex: '^P(laced|aid)$' }),
      ['order-1:0', 'order-1:1', 'reorder-1:0'],
    ],
    [
      'by what is no event of the system',
      excludeSystemEvents(),
      ['order-1:0', 'order-1:1', 'invoice-1:0', 'reorder-1:0'],
    ],
  ];
  for (const [name, filter, events] of cases) {
    test(`${name} gives the matching events, old and new`, async (t) => {
      const { client } = await startServer(t);
      await seed(client);
      const followed = new Followed(client.subscribeToAll({ filter }));
      await followed.live();
      assert.deepEqual(followed.events, events);
      await seed(client);
      await followed.has(2 * events.length);
      assert.deepEqual(followed.events.length, 2 * events.length);
    });
  }

  test('tells by checkpoints how far it has looked, never twice or backwards', async (t) => {
    const { client } = await startServer(t);
    for (let n = 0; n < 50; n++) await client.appendToStream(`other-${n}`, happened(n));
    const checkpoints: number[] = [];
    const checkpointReached = (_: unknown, { commit, prepare }: Position) => {
      assert.equal(commit, prepare);
      checkpoints.push(Number(commit));
    };
    const filter = streamNameFilter({
      prefixes: ['wanted-'],
      maxSearchWindow: 5,
      checkpointInterval: 2,
      checkpointReached,
    });
    const followed = new Followed(client.subscribeToAll({ filter }));
    await followed.live();
    assert.deepEqual(checkpoints, [10, 20, 30, 40, 50, 51]);
    for (let n = 0; n < 19; n++) await client.appendToStream(`other-${n}`, happened(n));
    await until(() => checkpoints.length === 8, 'the live checkpoints');
    assert.deepEqual(checkpoints.slice(6), [60, 70]);
    assert.deepEqual(followed.events, []);
  });

  test('gives one checkpoint, not two, when an interval ends with the log', async (t) => {
    const { client } = await startServer(t);
    for (let n = 0; n < 9; n++) await client.appendToStream(`other-${n}`, happened(n));
    const checkpoints: number[] = [];
    const checkpointReached = (_: unknown, { commit }: Position) => void checkpoints.push(Number(commit));
    const filter = streamNameFilter({ prefixes: ['wanted-'], maxSearchWindow: 5, checkpointReached });
    await new Followed(client.subscribeToAll({ filter })).live();
    assert.deepEqual(checkpoints, [5, 10]);
  });

  test('gives a checkpoint after the event it is for', async (t) => {
    const { client } = await startServer(t);
    const order: string[] = [];
    const checkpointReached = (_: unknown, { commit }: Position) => void order.push(`checkpoint ${commit}`);
    const filter = streamNameFilter({ prefixes: ['w'], maxSearchWindow: 1, checkpointInterval: 1, checkpointReached });
    const subscription = client.subscribeToAll({ filter, fromPosition: END });
    const followed = new Followed(subscription);
    subscription.on('data', ({ commitPosition }) => order.push(`event ${commitPosition}`));
    await followed.live();
    await client.appendToStream('w', [happened(0), happened(1)]);
    await until(() => order.length >= 5, 'the events and checkpoints');
    assert.deepEqual(order.slice(-4), ['event 2', 'checkpoint 2', 'event 3', 'checkpoint 3']);
  });
});

test('a filter that cannot work is refused', async (t) => {
  const { server } = await startServer(t);
  const stub = connectRaw(t, server.port);
  const { FilterOptions, AllOptions, SubscriptionOptions } = streamsPb.ReadReq.Options;
  const request = (regex: string, multiplier: number) =>
    readOptions()
      .setAll(new AllOptions().setStart(empty()))
      .setSubscription(new SubscriptionOptions())
      .setFilter(
        new FilterOptions()
          .setEventType(new FilterOptions.Expression().setRegex(regex))
          .setMax(10)
          .setCheckpointintervalmultiplier(multiplier),
      );
  await assert.rejects(readRaw(stub, request('(', 1)), { code: status.INVALID_ARGUMENT });
  await assert.rejects(readRaw(stub, request('a', 0)), { code: status.INVALID_ARGUMENT });
});
