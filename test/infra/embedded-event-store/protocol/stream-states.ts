import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Lane, newStream } from './lane.ts';

const arrange = {
  missing: async () => undefined,
  present: async ({ client, events }: Arranged) => client.appendToStream(...events),
  'soft-deleted': async ({ client, events, stream }: Arranged) => {
    await client.appendToStream(...events);
    await client.deleteStream(stream);
  },
  tombstoned: async ({ client, events, stream }: Arranged) => {
    await client.appendToStream(...events);
    await client.tombstoneStream(stream);
  },
  'with metadata only': async ({ client, stream }: Arranged) => client.setStreamMetadata(stream, { maxCount: 100 }),
};

type Arranged = Readonly<{
  client: Lane['client'];
  stream: string;
  events: readonly [string, ReturnType<Lane['events']>];
}>;

export type StreamState = keyof typeof arrange;

/** One test per state: every expectation on a stream of its own, compared with the row of the table. */
export const describeStreamStates = (
  lane: Lane,
  table: Readonly<Record<StreamState, Readonly<Record<string, string>>>>,
  act: (stream: string, expectedRevision: string) => Promise<string>,
): void => {
  for (const [state, row] of Object.entries(table)) {
    test(`every expected revision of a stream that is ${state}`, async () => {
      const outcomes = Object.keys(row).map(async (expectedRevision) => {
        const stream = newStream();
        await arrange[state as StreamState]({ client: lane.client, stream, events: [stream, lane.events(2)] });
        return [expectedRevision, await act(stream, expectedRevision)] as const;
      });
      assert.deepEqual(Object.fromEntries(await Promise.all(outcomes)), row);
    });
  }
};
