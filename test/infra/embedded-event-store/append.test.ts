import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { describe, test } from 'node:test';
import {
  ANY,
  type AppendExpectedRevision,
  type EventStoreDBClient,
  NO_STREAM,
  STREAM_EXISTS,
  StreamDeletedError,
  WrongExpectedVersionError,
} from '@eventstore/db-client';
import { collect, happened, happenedTimes, revisionsOf, startServer, waysToAppend } from './support.ts';

const lengthOf = async (client: EventStoreDBClient, stream: string) =>
  (await collect(client.readStream(stream))).length;

for (const [way, options] of Object.entries(waysToAppend)) {
  describe(`an append by ${way}`, () => {
    test('is numbered from 0, positioned in the log and accepted for every expectation that holds', async (t) => {
      const { client } = await startServer(t);
      const expectations: readonly AppendExpectedRevision[] = [NO_STREAM, 0n, STREAM_EXISTS, ANY];
      const results = [];
      for (const expectedRevision of expectations) {
        results.push(
          await client.appendToStream('order-1', happened(results.length), { ...options, expectedRevision }),
        );
      }
      assert.deepEqual(
        results.map((result) => [result.success, result.nextExpectedRevision]),
        [0n, 1n, 2n, 3n].map((revision) => [true, revision]),
      );
      const commits = results.map((result) => result.position?.commit ?? 0n);
      assert.deepEqual(
        commits,
        commits.toSorted((a, b) => Number(a - b)),
      );
      assert.deepEqual(await collect(client.readStream('order-1')).then(revisionsOf), [0, 1, 2, 3]);
    });

    const refused: readonly (readonly [
      name: string,
      existing: number,
      expected: AppendExpectedRevision,
      actual: unknown,
    ])[] = [
      ['no stream, but there is one', 2, NO_STREAM, 1n],
      ['an older revision', 3, 0n, 2n],
      ['a newer revision', 1, 5n, 0n],
      ['a revision of a stream that does not exist', 0, 0n, 'no_stream'],
      ['a stream that does not exist', 0, STREAM_EXISTS, 'no_stream'],
    ];
    for (const [name, existing, expectedRevision, actual] of refused) {
      test(`is refused when it expects ${name}`, async (t) => {
        const { client } = await startServer(t);
        if (existing > 0) await client.appendToStream('order-1', happenedTimes(existing));
        await assert.rejects(
          client.appendToStream('order-1', [happened(8), happened(9)], { ...options, expectedRevision }),
          (error) => {
            assert.ok(error instanceof WrongExpectedVersionError);
            assert.equal(error.streamName, 'order-1');
            assert.equal(error.expectedVersion, expectedRevision);
            assert.equal(error.actualVersion, actual);
            return true;
          },
        );
        if (existing > 0) assert.equal(await lengthOf(client, 'order-1'), existing);
      });
    }

    test('finds a stream that has only metadata to exist', async (t) => {
      const { client } = await startServer(t);
      await client.setStreamMetadata('order-1', { owner: 'me' });
      const result = await client.appendToStream('order-1', happened(0), {
        ...options,
        expectedRevision: STREAM_EXISTS,
      });
      assert.equal(result.nextExpectedRevision, 0n);
    });

    for (const expectedRevision of [NO_STREAM, 1n, ANY, STREAM_EXISTS] as const) {
      test(`that is repeated succeeds again without writing again (expected: ${expectedRevision})`, async (t) => {
        const { client } = await startServer(t);
        if (expectedRevision !== NO_STREAM) await client.appendToStream('order-1', happenedTimes(2));
        const events = [happened(5), happened(6)];
        const first = await client.appendToStream('order-1', events, { ...options, expectedRevision });
        await client.appendToStream('order-1', happened(7));
        const again = await client.appendToStream('order-1', events, { ...options, expectedRevision });
        assert.deepEqual(again, first);
        assert.equal(await lengthOf(client, 'order-1'), expectedRevision === NO_STREAM ? 3 : 5);
      });

      test(`whose first event is known and a later one is not is refused (expected: ${expectedRevision})`, async (t) => {
        const { client } = await startServer(t);
        if (expectedRevision !== NO_STREAM) await client.appendToStream('order-1', happenedTimes(2));
        const [first, second] = [happened(5), happened(6)];
        await client.appendToStream('order-1', [first, second], { ...options, expectedRevision });
        for (const mixed of [
          [first, happened(7)],
          [first, happened(7), second],
        ]) {
          const append = client.appendToStream('order-1', mixed, { ...options, expectedRevision });
          await assert.rejects(append, WrongExpectedVersionError);
        }
      });
    }

    test('with an id that is known from another stream is written', async (t) => {
      const { client } = await startServer(t);
      const event = happened(1, { id: randomUUID() });
      await client.appendToStream('order-1', event);
      const other = await client.appendToStream('order-2', event, { ...options, expectedRevision: ANY });
      assert.equal(other.nextExpectedRevision, 0n);
      assert.equal(await lengthOf(client, 'order-2'), 1);
    });

    test('of the events in another order is no repeat', async (t) => {
      const { client } = await startServer(t);
      const [first, second] = [happened(1), happened(2)];
      await client.appendToStream('order-1', [first, second], { ...options, expectedRevision: NO_STREAM });
      const swapped = client.appendToStream('order-1', [second, first], { ...options, expectedRevision: NO_STREAM });
      await assert.rejects(swapped, WrongExpectedVersionError);
    });

    test('of nothing succeeds and changes nothing', async (t) => {
      const { client } = await startServer(t);
      await client.appendToStream('order-1', happenedTimes(3));
      const result = await client.appendToStream('order-1', [], { ...options, expectedRevision: 2n });
      assert.deepEqual(result, { success: true, nextExpectedRevision: 2n, position: undefined });
      assert.equal(await lengthOf(client, 'order-1'), 3);
    });

    test('to a tombstoned stream is refused, even a repeat', async (t) => {
      const { client } = await startServer(t);
      const event = happened(1);
      await client.appendToStream('order-1', event);
      await client.tombstoneStream('order-1');
      for (const expectedRevision of [ANY, NO_STREAM, 0n, STREAM_EXISTS] as const) {
        const append = client.appendToStream('order-1', event, { ...options, expectedRevision });
        await assert.rejects(append, (error) => error instanceof StreamDeletedError && error.streamName === 'order-1');
      }
    });

    test('of 64 writers to one stream loses nothing and lets one win per revision', async (t) => {
      const { client } = await startServer(t);
      const attempts = await Promise.allSettled(
        Array.from({ length: 64 }, (_, n) =>
          client.appendToStream('order-1', happened(n), { ...options, expectedRevision: NO_STREAM }),
        ),
      );
      assert.equal(attempts.filter(({ status }) => status === 'fulfilled').length, 1);
      assert.equal(await lengthOf(client, 'order-1'), 1);
    });

    test('keeps every part of an event as it was given', async (t) => {
      const { client } = await startServer(t);
      const id = randomUUID();
      const event = {
        ...happened(1, { text: 'grüße \u{1f9ed}' }),
        id,
        metadata: { by: 'Jürgen', $correlationId: 'c' },
      };
      const before = Date.now();
      await client.appendToStream('order-ä', event, options);
      const [read] = await collect(client.readStream('order-ä'));
      assert.ok(read?.event);
      const { created, position, ...rest } = read.event;
      assert.deepEqual(rest, {
        streamId: 'order-ä',
        id,
        revision: 0n,
        type: 'Happened',
        data: { n: 1, text: 'grüße \u{1f9ed}' },
        metadata: { by: 'Jürgen', $correlationId: 'c' },
        isJson: true,
      });
      assert.ok(created.getTime() >= before && created.getTime() <= Date.now());
      assert.deepEqual(position, { commit: read.commitPosition, prepare: read.commitPosition });
    });
  });
}
