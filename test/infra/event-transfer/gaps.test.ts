import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EventStoreDBClient } from '@eventstore/db-client';
import { createEventStoreMaintenance } from '#infra/event-store-maintenance.ts';
import { gapType } from '#infra/event-transfer/stored-event.ts';
import { collect, happenedTimes, revisionsOf, startServer, until } from '../embedded-event-store/support.ts';
import { comparable, exportTo, fileIn, historyOf, importFrom } from './support.ts';

const never = new AbortController().signal;

const visible = async (client: EventStoreDBClient, stream: string): Promise<readonly number[]> =>
  revisionsOf(await collect(client.readStream(stream)));

const scavenge = async (client: EventStoreDBClient): Promise<void> => {
  for await (const _ of createEventStoreMaintenance(client).scavenge(never));
};

test('what a scavenge removed is held open by markers that no reader sees, so that revisions stay', async (t) => {
  const [source, target] = [await startServer(t), await startServer(t)];
  await source.client.setStreamMetadata('aged-1', { maxAge: 1 });
  await source.client.appendToStream('aged-1', happenedTimes(2));
  await source.client.appendToStream('truncated-1', happenedTimes(6));
  await source.client.setStreamMetadata('truncated-1', { truncateBefore: 2 });
  await source.client.setStreamMetadata('truncated-1', { truncateBefore: 4 });
  await source.client.setStreamMetadata('counted-1', { maxCount: 2 });
  await source.client.appendToStream('counted-1', happenedTimes(5));
  await source.client.appendToStream('gone-1', happenedTimes(2));
  await source.client.deleteStream('gone-1');
  await until(async () => (await visible(source.client, 'aged-1')).length === 0, 'the events of aged-1 to be too old');
  await scavenge(source.client);
  await source.client.setStreamMetadata('aged-1', { maxAge: 3600 });
  await source.client.appendToStream('aged-1', happenedTimes(3, 2));
  const kept = await historyOf(source.client);
  assert.ok(
    kept.every(({ stream, revision }) => stream !== 'truncated-1' || revision > 3n),
    'it was scavenged',
  );
  const path = await fileIn(t);
  await exportTo(source.client, path);
  assert.ok((await importFrom(target.client, path)).gaps >= 4 + 3 + 2);
  const moved = (await historyOf(target.client)).filter(({ type }) => type !== gapType);
  const withoutLimits = (lines: readonly string[]) => lines.filter((line) => !line.startsWith('$$aged-1'));
  assert.deepEqual(withoutLimits(comparable(moved)), withoutLimits(comparable(kept)));
  for (const [stream, revisions] of Object.entries({ 'truncated-1': [4, 5], 'aged-1': [2, 3, 4], 'counted-1': [3, 4] }))
    assert.deepEqual(await visible(target.client, stream), revisions, stream);
  // The markers are young: an age limit alone would show them.
  assert.deepEqual((await target.client.getStreamMetadata('aged-1')).metadata, { maxAge: 3600, truncateBefore: 2 });
  assert.equal((await importFrom(target.client, path)).written, 0);
  await target.client.appendToStream('truncated-1', happenedTimes(1, 6), { expectedRevision: 5n });
});

test('an import is gone on with in a target that scavenged what it had', async (t) => {
  const [source, target] = [await startServer(t), await startServer(t)];
  await source.client.appendToStream('truncated-1', happenedTimes(6));
  await source.client.setStreamMetadata('truncated-1', { truncateBefore: 4 });
  const [first, second] = [await fileIn(t), await fileIn(t)];
  const { last } = await exportTo(source.client, first);
  await importFrom(target.client, first);
  await scavenge(target.client);
  await importFrom(target.client, first);
  assert.deepEqual(await visible(target.client, 'truncated-1'), [4, 5]);
  await source.client.appendToStream('truncated-1', happenedTimes(2, 6));
  await exportTo(source.client, second, { from: (last?.position ?? 0n) + 1n });
  await importFrom(target.client, second);
  assert.deepEqual(await visible(target.client, 'truncated-1'), [4, 5, 6, 7]);
});
