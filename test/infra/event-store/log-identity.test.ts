import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createEventFeed } from '#infra/event-store/event-feed.ts';
import { createLogIdentity } from '#infra/event-store/log-identity.ts';
import { createEventStoreMaintenance } from '#infra/event-store-maintenance.ts';
import type { LogMark } from '#projections/ports.ts';
import { upcast } from '../../../src/composition/event-registry.ts';
import { happened, happenedTimes, startServer } from '../embedded-event-store/support.ts';

const open = async (t: Parameters<typeof startServer>[0]) => {
  const { client } = await startServer(t);
  return { client, identity: createLogIdentity(client, createEventFeed({ client, upcast }).head) };
};

const newestOf = async ({ identity }: Awaited<ReturnType<typeof open>>): Promise<LogMark> => {
  const { newest } = (await identity.ends()) ?? {};
  assert.ok(newest);
  return newest;
};

test('a log tells its first event and the newest of its history, not of what the server keeps for itself', async (t) => {
  const log = await open(t);
  await log.client.appendToStream('a-1', happenedTimes(3));
  const newest = await newestOf(log);
  await log.client.appendToStream('$of-the-server', happened(1));
  assert.deepEqual([newest.stream, newest.revision], ['a-1', 2n]);
  assert.deepEqual(await newestOf(log), newest);
  const { first } = (await log.identity.ends()) ?? {};
  assert.ok(first && first.position < newest.position);
  assert.deepEqual([await log.identity.find(newest), await log.identity.find(first)], ['there', 'there']);
});

test('an event is found where it was, elsewhere, or not at all', async (t) => {
  const [log, other] = [await open(t), await open(t)];
  const event = happened(1);
  await log.client.appendToStream('a-1', event);
  const mark = await newestOf(log);
  assert.equal(await other.identity.find(mark), 'absent');
  await other.client.appendToStream('b-1', happenedTimes(2));
  assert.equal(await other.identity.find(mark), 'absent');
  await other.client.appendToStream('a-1', event);
  assert.equal(await other.identity.find(mark), 'elsewhere');
  const deleted = await newestOf(other);
  await other.client.tombstoneStream('a-1');
  assert.equal(await other.identity.find(deleted), 'there', 'until it is scavenged');
});

test('an event that was truncated is there until it is scavenged; then nothing has its position', async (t) => {
  const log = await open(t);
  await log.client.appendToStream('a-1', happened(1));
  const mark = await newestOf(log);
  await log.client.appendToStream('a-1', happenedTimes(2));
  await log.client.setStreamMetadata('a-1', { truncateBefore: 1 });
  assert.equal(await log.identity.find(mark), 'there');
  for await (const _ of createEventStoreMaintenance(log.client).scavenge());
  assert.equal(await log.identity.find(mark), 'removed');
  const { position } = await newestOf(log);
  assert.equal(await log.identity.find({ ...mark, position }), 'replaced', 'where another event has the position');
});
