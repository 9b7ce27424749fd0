import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, test } from 'node:test';
import type { AppendToStreamOptions } from '@eventstore/db-client';
import { collect, expecting, type Lane, newStream, numbersOf, outcomeOf, revisionOf, revisionsOf } from './lane.ts';
import { admin } from './store-process.ts';
import { describeStreamStates, type StreamState } from './stream-states.ts';

/** With credentials of its own a call takes the classic Append; an insecure channel drops them. */
const ways: Readonly<Record<string, AppendToStreamOptions>> = { BatchAppend: {}, Append: { credentials: admin } };

type Table = Readonly<Record<StreamState, Readonly<Record<string, string>>>>;

const deleted = 'stream-deleted';
const wrong = (actual: string) => `wrong-expected-version, actual ${actual}`;

/** The last revision of the states that have events is 1. */
const outcomes: Table = {
  missing: {
    any: 'at 0',
    no_stream: 'at 0',
    stream_exists: wrong('no_stream'),
    0: wrong('no_stream'),
    1: wrong('no_stream'),
  },
  present: { any: 'at 2', no_stream: wrong('1'), stream_exists: 'at 2', 0: wrong('1'), 1: 'at 2', 7: wrong('1') },
  'soft-deleted': {
    any: 'at 2',
    no_stream: 'at 2',
    stream_exists: deleted,
    0: wrong('1'),
    1: 'at 2',
    7: wrong('1'),
  },
  tombstoned: { any: deleted, no_stream: deleted, stream_exists: deleted, 0: deleted, 1: deleted },
  'with metadata only': { any: 'at 0', no_stream: 'at 0', stream_exists: 'at 0', 0: wrong('no_stream') },
};

const expectations = ['any', 'no_stream', 'stream_exists'] as const;

export const proveAppends = (lane: Lane): void => {
  const { client } = lane;
  for (const [way, options] of Object.entries(ways)) {
    describe(`${way} through ${lane.library.name}, ${lane.store.mode}`, () => {
      describeStreamStates(lane, outcomes, (name, expected) =>
        outcomeOf(client.appendToStream(name, lane.event(9), { ...options, ...expecting(revisionOf(expected)) })),
      );

      for (const expected of expectations) {
        test(`a repeat with ${expected} succeeds as the first time and writes nothing`, async () => {
          const stream = newStream();
          if (expected === 'stream_exists') await client.setStreamMetadata(stream, {});
          const events = lane.events(3);
          const first = await client.appendToStream(stream, events, { ...options, ...expecting(expected) });
          await client.appendToStream(stream, lane.event(3), { ...options });
          const again = await client.appendToStream(stream, events, { ...options, ...expecting(expected) });
          assert.deepEqual(again, first);
          assert.deepEqual(numbersOf(await collect(client.readStream(stream))), [0, 1, 2, 3]);
        });
      }

      test('a repeat with the exact revision is known by what is stored, also after more was appended', async () => {
        const stream = newStream();
        await client.appendToStream(stream, lane.events(2), options);
        const events = lane.events(2, 2);
        const expected = { ...options, ...expecting(1n) };
        const first = await client.appendToStream(stream, events, expected);
        await client.appendToStream(stream, lane.events(2, 4), options);
        assert.deepEqual(await client.appendToStream(stream, events, expected), first);
        const [one] = events;
        assert.equal(await outcomeOf(client.appendToStream(stream, one ?? [], expected)), 'at 2');
        assert.equal(await outcomeOf(client.appendToStream(stream, [...events, lane.event(9)], expected)), wrong('5'));
        assert.equal(await outcomeOf(client.appendToStream(stream, [...events].reverse(), expected)), wrong('5'));
        assert.equal(await outcomeOf(client.appendToStream(stream, [], expected)), wrong('5'));
        assert.equal((await collect(client.readStream(stream))).length, 6);
      });

      test('a repeat of which only the beginning is known is refused', async () => {
        const stream = newStream();
        const known = lane.events(2);
        await client.appendToStream(stream, known, options);
        const more = [...known, lane.event(2)];
        for (const expected of ['any', 'stream_exists', 'no_stream'] as const) {
          const attempt = client.appendToStream(stream, more, { ...options, ...expecting(expected) });
          assert.equal(await outcomeOf(attempt), wrong('1'), expected);
        }
      });

      test('an id that is known from another stream, or from the middle of an append, is written', async () => {
        const id = randomUUID();
        await client.appendToStream(newStream(), lane.event(0, { id }), options);
        const stream = newStream();
        assert.equal(await outcomeOf(client.appendToStream(stream, lane.event(0, { id }), options)), 'at 0');
        const mixed = [lane.event(1), lane.event(0, { id })];
        assert.equal(await outcomeOf(client.appendToStream(stream, mixed, options)), 'at 2');
      });

      test('a repeat to a tombstoned stream is refused as deleted', async () => {
        const stream = newStream();
        const events = lane.events(1);
        await client.appendToStream(stream, events, options);
        await client.tombstoneStream(stream);
        assert.equal(await outcomeOf(client.appendToStream(stream, events, options)), deleted);
      });

      test('a deadline that has passed before all has arrived ends the append, which leaves nothing', async () => {
        const stream = newStream();
        const late = client.appendToStream(stream, lane.events(2_000), { ...options, deadline: 1 });
        await assert.rejects(late, { type: 'deadline-exceeded' });
        await assert.rejects(collect(client.readStream(stream)), { type: 'stream-not-found' });
      });

      test('more than 1 MiB is refused with the limit, whole', async () => {
        const stream = newStream();
        const half = lane.event(0, { text: 'x'.repeat(524_288) });
        const append = client.appendToStream(stream, [half, lane.event(1, { text: 'x'.repeat(524_288) })], options);
        await assert.rejects(append, { type: 'maximum-append-size-exceeded', maxAppendSize: 1024 * 1024 });
        await assert.rejects(collect(client.readStream(stream)), { type: 'stream-not-found' });
        assert.equal(await outcomeOf(client.appendToStream(stream, half, options)), 'at 0');
        const one = client.appendToStream(stream, lane.event(2, { text: 'x'.repeat(6_000_000) }), options);
        assert.equal(await outcomeOf(one), 'maximum-append-size-exceeded');
      });
    });
  }
};

/** Takes its time, and the same way through each client: for one lane. */
export const proveLargeAppend = (lane: Lane): void => {
  const { client } = lane;
  describe(`a large append through ${lane.library.name}, ${lane.store.mode}`, () => {
    test('ten thousand events are one append, in order', async () => {
      const stream = newStream();
      const { nextExpectedRevision } = await client.appendToStream(stream, lane.events(10_000));
      assert.equal(nextExpectedRevision, 9_999n);
      const stored = await collect(client.readStream(stream));
      assert.deepEqual(
        revisionsOf(stored),
        Array.from({ length: 10_000 }, (_, index) => index),
      );
      assert.deepEqual(numbersOf(stored), revisionsOf(stored));
    });
  });
};
