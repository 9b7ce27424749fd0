import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, type TestContext, test } from 'node:test';
import { type CommandContext, type EventFeed, type EventStore, noEvents, RevisionConflict } from '#commands/ports.ts';
import type { ClaimEvent } from '#domain/claim/claim.ts';
import type { DomainEvent } from '#domain/decider.ts';
import type { RecordedEvent } from '#domain/recorded-event.ts';

const context = (more: Partial<CommandContext> = {}): CommandContext => ({
  actor: 'user:admin',
  correlationId: 'correlation-1',
  commandId: randomUUID(),
  ...more,
});

const claimed = (holder: number): ClaimEvent => ({
  type: 'NameClaimed',
  data: { key: 'Primär "1"', holder: `repo-${holder}`, at: '2026-11-22T02:16:05.120Z' },
});

const times = (count: number): readonly ClaimEvent[] => Array.from({ length: count }, (_, index) => claimed(index));

const collect = async <E extends DomainEvent>(events: AsyncIterable<RecordedEvent<E>>) => {
  const all: RecordedEvent<E>[] = [];
  for await (const event of events) all.push(event);
  return all;
};

const revisionsOf = (events: readonly RecordedEvent[]) => events.map(({ revision }) => Number(revision));

type Opened = Readonly<{ store: EventStore; feed: EventFeed }>;

/** What every event store promises to its callers. */
export const eventStoreContract = (name: string, open: (t: TestContext) => Promise<Opened>): void => {
  const newStream = () => `claim-repositoryName-${randomUUID()}`;

  describe(`${name} keeps streams`, () => {
    test('a stream that nobody wrote to is empty', async (t) => {
      const { store } = await open(t);
      const stream = newStream();
      assert.deepEqual(await store.read(stream), { events: [], revision: noEvents });
      assert.deepEqual(await collect(store.readBackwards(stream)), []);
      assert.deepEqual(await collect(store.readForwards(stream, 0n)), []);
    });

    test('what was appended is read back whole, in order, with who did it and why', async (t) => {
      const { store } = await open(t);
      const stream = newStream();
      const cause = context({ causationId: 'request-7' });
      const first = await store.append(stream, [claimed(1), claimed(2)], noEvents, cause);
      const second = await store.append(stream, [claimed(3)], first.revision, context());
      assert.deepEqual([first.revision, second.revision], [1n, 2n]);
      const { events, revision } = await store.read<ClaimEvent>(stream);
      assert.equal(revision, 2n);
      assert.deepEqual(
        events.map(({ event }) => event),
        [claimed(1), claimed(2), claimed(3)],
      );
      assert.deepEqual(revisionsOf(events), [0, 1, 2]);
      assert.deepEqual(events[0]?.metadata, {
        $correlationId: 'correlation-1',
        $causationId: 'request-7',
        by: 'user:admin',
        v: 1,
      });
      assert.equal(events[2] && '$causationId' in events[2].metadata, false);
      assert.equal(new Set(events.map(({ id }) => id)).size, 3);
      assert.ok(events.every((event) => event.stream === stream));
      assert.ok(events.every(({ recordedAt }) => new Date(recordedAt).toISOString() === recordedAt));
    });

    test('positions grow over all streams, and an append tells the last of its own', async (t) => {
      const { store } = await open(t);
      const [one, two] = [newStream(), newStream()];
      const first = await store.append(one, times(2), noEvents, context());
      const second = await store.append(two, times(1), noEvents, context());
      const third = await store.append(one, times(1), 1n, context());
      assert.ok(first.position < second.position && second.position < third.position);
      assert.equal((await store.read(two)).events.at(-1)?.position, second.position);
      const positions = (await store.read(one)).events.map(({ position }) => position);
      assert.deepEqual(
        positions,
        positions.toSorted((a, b) => Number(a - b)),
      );
      assert.equal(new Set(positions).size, 3);
    });

    for (const [what, expected] of [
      ['that is behind', 0n],
      ['that is ahead', 5n],
      ['of nothing', noEvents],
    ] as const) {
      test(`an append with an expectation ${what} is refused and writes nothing`, async (t) => {
        const { store } = await open(t);
        const stream = newStream();
        await store.append(stream, times(2), noEvents, context());
        await assert.rejects(store.append(stream, [claimed(9)], expected, context()), RevisionConflict);
        assert.equal((await store.read(stream)).revision, 1n);
      });
    }

    test('an append that expects something of an empty stream is refused', async (t) => {
      const { store } = await open(t);
      const stream = newStream();
      await assert.rejects(store.append(stream, [claimed(9)], 0n, context()), RevisionConflict);
      assert.equal((await store.read(stream)).revision, noEvents);
    });

    test('the same append sent again is written once, also when others came in between', async (t) => {
      const { store } = await open(t);
      const stream = newStream();
      const same = context();
      const first = await store.append(stream, times(2), noEvents, same);
      assert.equal((await store.append(stream, times(2), noEvents, same)).revision, first.revision);
      await store.append(stream, [claimed(7)], 1n, context());
      assert.equal((await store.append(stream, times(2), noEvents, same)).revision, 1n);
      assert.equal((await store.read(stream)).events.length, 3);
    });

    test('of two appends at once with one expectation exactly one is written', async (t) => {
      const { store } = await open(t);
      const stream = newStream();
      const results = await Promise.allSettled([
        store.append(stream, [claimed(1)], noEvents, context()),
        store.append(stream, [claimed(2)], noEvents, context()),
      ]);
      const lost = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as unknown] : []));
      assert.equal(lost.length, 1);
      assert.ok(lost[0] instanceof RevisionConflict);
      assert.equal((await store.read(stream)).events.length, 1);
    });

    test('long streams are read over many pages, both ways', async (t) => {
      const { store } = await open(t);
      const stream = newStream();
      await store.append(stream, times(600), noEvents, context());
      const upwards = Array.from({ length: 600 }, (_, index) => index);
      assert.deepEqual(revisionsOf((await store.read(stream)).events), upwards);
      assert.deepEqual(revisionsOf(await collect(store.readForwards(stream, 250n))), upwards.slice(250));
      assert.deepEqual(revisionsOf(await collect(store.readBackwards(stream))), upwards.toReversed());
      assert.deepEqual(await collect(store.readForwards(stream, 600n)), []);
    });

    test('a reader may stop in the middle', async (t) => {
      const { store } = await open(t);
      const stream = newStream();
      await store.append(stream, times(40), noEvents, context());
      const seen: number[] = [];
      for await (const { revision } of store.readBackwards(stream)) {
        seen.push(Number(revision));
        if (seen.length === 3) break;
      }
      assert.deepEqual(seen, [39, 38, 37]);
    });
  });

  describe(`${name} bounds streams`, () => {
    test('beyond the newest so many, events are no longer read', async (t) => {
      const { store } = await open(t);
      const stream = newStream();
      await store.append(stream, times(5), noEvents, context());
      await store.bound(stream, { maxCount: 2 });
      assert.deepEqual(revisionsOf((await store.read(stream)).events), [3, 4]);
      await store.append(stream, [claimed(5)], 4n, context());
      assert.deepEqual(revisionsOf(await collect(store.readBackwards(stream))), [5, 4]);
    });

    test('a truncated stream is read from there on, and bounds are kept beside each other', async (t) => {
      const { store } = await open(t);
      const stream = newStream();
      await store.append(stream, times(5), noEvents, context());
      await store.bound(stream, { maxCount: 3, maxAgeSeconds: 3600 });
      await store.bound(stream, { truncateBefore: 4n });
      await store.bound(stream, { truncateBefore: 4n });
      assert.deepEqual(revisionsOf((await store.read(stream)).events), [4]);
      await store.append(stream, times(5), 4n, context());
      assert.deepEqual(revisionsOf(await collect(store.readForwards(stream, 0n))), [7, 8, 9]);
    });

    test('an emptied stream reads as empty and is not a new one', async (t) => {
      const { store } = await open(t);
      const stream = newStream();
      await store.append(stream, times(2), noEvents, context());
      await store.bound(stream, { truncateBefore: 2n });
      assert.deepEqual(await store.read(stream), { events: [], revision: noEvents });
      assert.deepEqual(await collect(store.readBackwards(stream)), []);
      await assert.rejects(store.append(stream, [claimed(3)], noEvents, context()), RevisionConflict);
      await store.append(stream, [claimed(3)], 1n, context());
      assert.deepEqual(revisionsOf((await store.read(stream)).events), [2]);
    });
  });

  describe(`${name} feeds followers`, () => {
    /** Reads on until the end was reached once and `count` events have come; then stops. */
    const follow = async (items: AsyncIterable<unknown>, count: number, stop: AbortController) => {
      const events: RecordedEvent[] = [];
      const batches: number[] = [];
      let caughtUp = false;
      for await (const item of items as ReturnType<EventFeed['subscribe']>) {
        if (item.kind === 'caught-up') caughtUp = true;
        else {
          events.push(...item.events);
          if (item.events.length > 0) batches.push(item.events.length);
          assert.ok(item.events.every(({ position }) => position <= item.position));
        }
        if (caughtUp && events.length >= count) stop.abort();
      }
      return { events, batches };
    };

    test('with the whole log in order, then live, in bounded batches', async (t) => {
      const { store, feed } = await open(t);
      const stream = newStream();
      await store.append(stream, times(5), noEvents, context());
      const stop = new AbortController();
      const following = follow(feed.subscribe(0n, { maxBatch: 2 }, stop.signal), 7, stop);
      await store.append(stream, times(2), 4n, context());
      const { events, batches } = await following;
      assert.deepEqual(revisionsOf(events.filter((event) => event.stream === stream)), [0, 1, 2, 3, 4, 5, 6]);
      assert.ok(batches.every((size) => size <= 2));
    });

    test('strictly after a position, and of the wanted streams only', async (t) => {
      const { store, feed } = await open(t);
      const wanted = `nbdExport-${randomUUID()}`;
      const first = await store.append(wanted, times(1), noEvents, context());
      await store.append(newStream(), times(3), noEvents, context());
      await store.append(wanted, times(2), 0n, context());
      const stop = new AbortController();
      const prefixes = { streamPrefixes: [wanted] };
      const { events } = await follow(feed.subscribe(first.position, prefixes, stop.signal), 2, stop);
      assert.deepEqual(
        events.map(({ stream, revision }) => [stream, Number(revision)]),
        [
          [wanted, 1],
          [wanted, 2],
        ],
      );
    });

    test('and tells the position of the newest event', async (t) => {
      const { store, feed } = await open(t);
      const { position } = await store.append(newStream(), times(2), noEvents, context());
      assert.ok((await feed.head()) >= position);
    });
  });
};
