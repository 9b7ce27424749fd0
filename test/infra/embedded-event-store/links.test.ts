import assert from 'node:assert/strict';
import { test } from 'node:test';
import { binaryEvent, type EventStoreDBClient } from '@eventstore/db-client';
import { Followed } from './followed.ts';
import { collect, happened, happenedTimes, startServer } from './support.ts';

const linkTo = (target: string) => binaryEvent({ type: '$>', data: Buffer.from(target) });

const read = async (client: EventStoreDBClient, resolveLinkTos = true) =>
  (await collect(client.readStream('links', { resolveLinkTos }))).map(({ event, link }) => [
    event && `${event.streamId}:${event.revision}`,
    link && `${link.streamId}:${link.revision}`,
  ]);

test('links are resolved to their events, or delivered alone when the target is gone', async (t) => {
  const { client } = await startServer(t);
  await client.appendToStream('order@home', happenedTimes(2));
  for (const stream of ['truncated', 'soft', 'hard']) await client.appendToStream(stream, happenedTimes(2));
  await client.appendToStream(
    'links',
    ['1@order@home', '0@truncated', '1@truncated', '0@soft', '0@hard', '7@order@home', '0@nothing', 'nonsense'].map(
      linkTo,
    ),
  );
  await client.setStreamMetadata('truncated', { truncateBefore: 1 });
  await client.deleteStream('soft');
  await client.tombstoneStream('hard');
  assert.deepEqual(await read(client), [
    ['order@home:1', 'links:0'],
    [undefined, 'links:1'],
    ['truncated:1', 'links:2'],
    [undefined, 'links:3'],
    [undefined, 'links:4'],
    [undefined, 'links:5'],
    [undefined, 'links:6'],
    ['links:7', undefined],
  ]);
  assert.deepEqual((await read(client, false))[0], ['links:0', undefined]);
});

test('a resolved event has the position of its link outside and its own inside', async (t) => {
  const { client } = await startServer(t);
  const target = await client.appendToStream('order-1', happened(0));
  const link = await client.appendToStream('links', linkTo('0@order-1'));
  const [resolved] = await collect(client.readStream('links', { resolveLinkTos: true }));
  assert.equal(resolved?.commitPosition, link.position?.commit);
  assert.deepEqual(resolved?.event?.position, target.position);
  const [, , inLog] = await collect(client.readAll({ resolveLinkTos: true }));
  assert.equal(inLog?.event?.streamId, 'order-1');
  assert.equal(inLog?.link?.streamId, 'links');
});

test('a subscription resolves links as well', async (t) => {
  const { client } = await startServer(t);
  await client.appendToStream('order-1', happenedTimes(2));
  await client.appendToStream('links', linkTo('0@order-1'));
  const followed = new Followed(client.subscribeToStream('links', { resolveLinkTos: true }));
  await followed.live();
  await client.appendToStream('links', linkTo('1@order-1'));
  assert.deepEqual(await followed.has(2), ['order-1:0', 'order-1:1']);
});
