import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { collect, expecting, type Lane, newStream, outcomeOf, revisionOf, revisionsOf } from './lane.ts';
import { describeStreamStates, type StreamState } from './stream-states.ts';

type Table = Readonly<Record<StreamState, Readonly<Record<string, string>>>>;

const deleted = 'stream-deleted';
const wrong = (actual: number) => `wrong-expected-version, actual ${actual}`;
const allDeleted = { any: deleted, no_stream: deleted, 0: deleted, 1: deleted };
const present = { any: 'done', no_stream: wrong(1), 0: wrong(1), 1: 'done', 7: wrong(1) };
const softDeleted = { any: 'done', no_stream: 'done', 0: wrong(1), 1: 'done', 7: wrong(1) };
const metadataOnly = { any: 'done', no_stream: 'done', 0: wrong(-1) };

const softDelete: Table = {
  missing: { any: wrong(-1), no_stream: wrong(-1), 0: wrong(-1) },
  present,
  'soft-deleted': softDeleted,
  tombstoned: allDeleted,
  'with metadata only': metadataOnly,
};
const tombstone: Table = { ...softDelete, missing: { any: 'done', no_stream: 'done', 0: wrong(-1) } };

const proveSoftDelete = ({ client, ...lane }: Pick<Lane, 'client'> & { events: Lane['events'] }): void => {
  test('hides the stream until an append brings it back, numbered on, without what was before', async () => {
    const stream = newStream();
    await client.appendToStream(stream, lane.events(3));
    const { position } = await client.deleteStream(stream);
    assert.ok(position && position.commit > 0n && position.commit === position.prepare);
    await assert.rejects(collect(client.readStream(stream)), { type: 'stream-not-found' });
    assert.equal(await outcomeOf(client.appendToStream(stream, lane.events(2), expecting('no_stream'))), 'at 4');
    assert.deepEqual(revisionsOf(await collect(client.readStream(stream))), [3, 4]);
    const { metadata } = await client.getStreamMetadata(stream);
    assert.equal(metadata?.truncateBefore, 3);
  });

  test('replaces the metadata, and metadata written by hand does not bring the events back', async () => {
    const stream = newStream();
    await client.appendToStream(stream, lane.events(2));
    await client.setStreamMetadata(stream, { maxCount: 10, color: 'red' });
    await client.deleteStream(stream);
    const { metadata: ofDeleted } = await client.getStreamMetadata(stream);
    assert.deepEqual(Object.keys(ofDeleted ?? {}), ['truncateBefore']);
    await client.setStreamMetadata(stream, { color: 'blue' });
    const { metadata } = await client.getStreamMetadata(stream);
    assert.deepEqual(metadata, { color: 'blue', truncateBefore: 2 });
    assert.deepEqual(await collect(client.readStream(stream)), []);
  });

  test('leaves the events in $all', async () => {
    const stream = newStream();
    const appended = await client.appendToStream(stream, lane.events(2));
    await client.deleteStream(stream);
    const end = appended.position?.commit ?? 0n;
    const fromPosition = { commit: end - 1n, prepare: end - 1n };
    const [first, second, metadata] = await collect(client.readAll({ fromPosition, maxCount: 3 }));
    assert.deepEqual(
      [first, second, metadata].map((read) => read?.event?.streamId),
      [stream, stream, `$$${stream}`],
    );
  });
};

const proveTombstone = ({ client, ...lane }: Pick<Lane, 'client'> & { events: Lane['events'] }): void => {
  test('is for ever, for the stream and its metadata', async () => {
    const stream = newStream();
    await client.appendToStream(stream, lane.events(2));
    const { position } = await client.tombstoneStream(stream);
    assert.ok(position && position.commit > 0n);
    const attempts: readonly (() => Promise<unknown>)[] = [
      () => collect(client.readStream(stream)),
      () => collect(client.readStream(stream, { direction: 'backwards', fromRevision: 'end', maxCount: 1 })),
      () => client.setStreamMetadata(stream, { maxCount: 1 }),
      () => client.getStreamMetadata(stream),
      () => client.deleteStream(stream),
      () => client.tombstoneStream(stream),
    ];
    for (const attempt of attempts) await assert.rejects(attempt, { type: 'stream-deleted' });
  });

  test('shows in $all as an event with the largest revision there is', async () => {
    const stream = newStream();
    const { position } = await client.tombstoneStream(stream);
    assert.ok(position);
    const [read] = await collect(client.readAll({ fromPosition: position, maxCount: 1 }));
    assert.equal(read?.event?.type, '$streamDeleted');
    assert.equal(read?.event?.streamId, stream);
    assert.equal(read?.event?.revision, 2n ** 63n - 1n);
  });
};

export const proveDeletions = (lane: Lane): void => {
  const { client } = lane;
  const parts = { client, events: (count: number) => lane.events(count) };
  describe(`a soft delete through ${lane.library.name}, ${lane.store.mode}`, () => {
    describeStreamStates(lane, softDelete, (name, expected) =>
      outcomeOf(client.deleteStream(name, expecting(revisionOf(expected))).then(() => undefined)),
    );
    proveSoftDelete(parts);
  });
  describe(`a tombstone through ${lane.library.name}, ${lane.store.mode}`, () => {
    describeStreamStates(lane, tombstone, (name, expected) =>
      outcomeOf(client.tombstoneStream(name, expecting(revisionOf(expected))).then(() => undefined)),
    );
    proveTombstone(parts);
  });
};
