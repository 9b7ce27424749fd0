import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { binaryEvent, EventStoreDBClient, MaxAppendSizeExceededError } from '@eventstore/db-client';
import { collect, happened, happenedTimes, startServer, waysToAppend } from './support.ts';

const mebibyte = 1024 * 1024;
const binaryOf = (sizeBytes: number) => binaryEvent({ type: 'B', data: new Uint8Array(sizeBytes) });

for (const [way, options] of Object.entries(waysToAppend)) {
  describe(`the size of an append by ${way}`, () => {
    test('may reach the limit, counted over data, metadata and twice the length of the type', async (t) => {
      const { client } = await startServer(t);
      const atLimit = await client.appendToStream('big', binaryOf(mebibyte - 2), options);
      assert.equal(atLimit.nextExpectedRevision, 0n);
      const beyond = client.appendToStream('big', binaryOf(mebibyte - 1), options);
      await assert.rejects(beyond, (error) => {
        assert.ok(error instanceof MaxAppendSizeExceededError);
        assert.equal(error.maxAppendSize, mebibyte);
        return true;
      });
      assert.equal((await collect(client.readStream('big'))).length, 1);
    });

    test('is summed over all its events, which are refused together', async (t) => {
      const { client } = await startServer(t);
      const half = binaryOf(mebibyte / 2);
      await assert.rejects(
        client.appendToStream('big', [half, { ...half, id: happened(0).id }], options),
        MaxAppendSizeExceededError,
      );
      assert.equal((await client.appendToStream('big', happened(1), options)).nextExpectedRevision, 0n);
    });

    test('allows ten thousand small events, written in order', async (t) => {
      const { client } = await startServer(t);
      const result = await client.appendToStream('many', happenedTimes(10_000), options);
      assert.equal(result.nextExpectedRevision, 9_999n);
      const numbers = (await collect(client.readStream('many'))).map(({ event }) => event?.data);
      assert.deepEqual(
        numbers,
        happenedTimes(10_000).map(({ data }) => data),
      );
    });
  });
}

test('the size of an append can be counted as older servers did: 30,000 small events fit, 40,000 do not', async (t) => {
  const { connectionString } = await startServer(t, {
    limits: { appendSizeRule: 'data-only', writeTimeoutMs: 20_000 },
  });
  const client = EventStoreDBClient.connectionString(`${connectionString}&defaultDeadline=60000`);
  t.after(() => client.dispose());
  const small = (count: number) =>
    Array.from({ length: count }, () => binaryEvent({ type: 'OfSomeLength', data: new Uint8Array(30) }));
  assert.equal((await client.appendToStream('many', small(30_000))).nextExpectedRevision, 29_999n);
  await assert.rejects(client.appendToStream('too-many', small(40_000)), MaxAppendSizeExceededError);
});
