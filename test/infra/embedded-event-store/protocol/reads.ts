import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { ReadStreamOptions } from '@eventstore/db-client';
import { collect, type Lane, newStream, revisionsOf } from './lane.ts';

/** Of a stream with the revisions 0 to 9, $tb 2 and $maxCount 6. */
const windows: readonly (readonly [string, ReadStreamOptions, readonly number[]])[] = [
  ['from the start', {}, [4, 5, 6, 7, 8, 9]],
  ['from below what is visible', { fromRevision: 1n, maxCount: 2 }, [4, 5]],
  ['from within', { fromRevision: 7n }, [7, 8, 9]],
  ['from behind the end', { fromRevision: 10n }, []],
  ['backwards', { direction: 'backwards', fromRevision: 'end' }, [9, 8, 7, 6, 5, 4]],
  ['backwards from behind the end', { direction: 'backwards', fromRevision: 99n, maxCount: 1 }, [9]],
  ['backwards from within', { direction: 'backwards', fromRevision: 5n }, [5, 4]],
  ['backwards from below what is visible', { direction: 'backwards', fromRevision: 3n }, []],
];

const proveStreams = (lane: Lane): void => {
  const { client } = lane;
  test('a stream is read as its metadata says, from anywhere and in both directions', async () => {
    const stream = newStream();
    await client.appendToStream(stream, lane.events(10));
    await client.setStreamMetadata(stream, { truncateBefore: 2, maxCount: 6 });
    for (const [what, options, revisions] of windows) {
      assert.deepEqual(revisionsOf(await collect(client.readStream(stream, options))), revisions, what);
    }
    if (!lane.library.startAndEndSayDirection) {
      assert.deepEqual(await collect(client.readStream(stream, { direction: 'backwards', fromRevision: 'start' })), []);
      assert.deepEqual(await collect(client.readStream(stream, { fromRevision: 'end' })), []);
    }
    await client.setStreamMetadata(stream, { truncateBefore: 100 });
    assert.deepEqual(await collect(client.readStream(stream)), [], 'all truncated is empty, not missing');
    const { nextExpectedRevision } = await client.appendToStream(stream, lane.event(10));
    assert.equal(nextExpectedRevision, 10n);
  });

  test('a stream without events is not found, one with metadata only as well', async () => {
    const stream = newStream();
    await assert.rejects(collect(client.readStream(stream)), { type: 'stream-not-found', streamName: stream });
    assert.equal((await client.getStreamMetadata(stream)).metadata, undefined);
    await client.setStreamMetadata(stream, { maxCount: 3 });
    await assert.rejects(collect(client.readStream(stream)), { type: 'stream-not-found' });
  });

  test('metadata is kept whole, and of its stream only the last is read', async () => {
    const stream = newStream();
    const acl = { readRoles: ['ada', 'bob'], writeRoles: ['ada'], metaReadRoles: ['$all'] };
    const first = await client.setStreamMetadata(stream, { maxAge: 60 });
    await client.setStreamMetadata(stream, { maxAge: 90, cacheControl: 5, acl, color: 'red' });
    const { metadata } = await client.getStreamMetadata(stream);
    assert.deepEqual(metadata, { maxAge: 90, cacheControl: 5, acl, color: 'red' });
    assert.deepEqual(revisionsOf(await collect(client.readStream(`$$${stream}`))), [1]);
    const fromPosition = first.position;
    const logged = await collect(client.readAll({ maxCount: 2, ...(fromPosition && { fromPosition }) }));
    assert.deepEqual(revisionsOf(logged), [0, 1]);
  });

  test('links are resolved when asked for, and stand alone when their event is gone', async () => {
    const [source, gone, links] = [newStream(), newStream(), newStream('links')];
    await client.appendToStream(source, lane.events(2));
    await client.appendToStream(gone, lane.events(1));
    const targets = [`1@${source}`, `0@${gone}`, `7@${source}`];
    const link = (target: string) => ({
      ...lane.event(0),
      contentType: 'application/octet-stream',
      type: '$>',
      data: Buffer.from(target),
    });
    await client.appendToStream(links, targets.map(link) as never);
    await client.tombstoneStream(gone);
    const seen = (await collect(client.readStream(links, { resolveLinkTos: true }))).map((read) => [
      read.event && `${read.event.revision}@${read.event.streamId}`,
      read.link && Number(read.link.revision),
    ]);
    assert.deepEqual(seen, [
      [targets[0], 0],
      [undefined, 1],
      [undefined, 2],
    ]);
    const plain = await collect(client.readStream(links));
    assert.deepEqual(
      plain.map(({ event }) => event?.type),
      ['$>', '$>', '$>'],
    );
  });
};

const proveLog = (lane: Lane): void => {
  const { client } = lane;
  test('$all begins with an event of the system', async () => {
    const [first] = await collect(client.readAll({ maxCount: 1 }));
    assert.ok(first?.event?.streamId.startsWith('$'));
  });

  test('$all is the order of the log: from a position on forwards, before it backwards', async () => {
    const [one, two] = [newStream(), newStream()];
    const first = await client.appendToStream(one, lane.event(0));
    const middle = await client.appendToStream(two, lane.event(1));
    await client.appendToStream(one, lane.event(2));
    const from = first.position;
    const at = middle.position;
    assert.ok(from && at);
    const forwards = await collect(client.readAll({ fromPosition: from, maxCount: 3 }));
    assert.deepEqual(
      forwards.map(({ event }) => `${event?.revision}@${event?.streamId}`),
      [`0@${one}`, `0@${two}`, `1@${one}`],
    );
    const inclusive = await collect(client.readAll({ fromPosition: at, maxCount: 1 }));
    assert.equal(inclusive[0]?.event?.streamId, two);
    const exclusive = await collect(client.readAll({ fromPosition: at, direction: 'backwards', maxCount: 1 }));
    assert.equal(exclusive[0]?.event?.streamId, one);
    if (!lane.library.startAndEndSayDirection) {
      assert.deepEqual(await collect(client.readAll({ fromPosition: 'end', maxCount: 1 })), []);
      const none = client.readAll({ fromPosition: 'start', direction: 'backwards', maxCount: 1 });
      assert.deepEqual(await collect(none), []);
    }
    const positions = (
      await collect(client.readAll({ direction: 'backwards', fromPosition: 'end', maxCount: 50 }))
    ).map((read) => read.commitPosition ?? 0n);
    assert.ok(positions.every((position, index) => index === 0 || position < (positions[index - 1] ?? 0n)));
  });
};

export const proveReads = (lane: Lane): void => {
  describe(`reading through ${lane.library.name}, ${lane.store.mode}`, () => {
    proveStreams(lane);
    proveLog(lane);
  });
};
