import { type EventStoreDBClient, FORWARDS, StreamNotFoundError } from '@eventstore/db-client';
import type { RecordedEvent, UnreadableRecord } from '#domain/recorded-event.ts';
import { toKnownRecorded, type Upcast } from './recorded.ts';
import { defaultRetry, withRetry } from './retry.ts';

const pageSize = 256;

type Range = Readonly<{ from: bigint; to: bigint }>;

/** Reads a stream as a feed does: past what it does not know, and telling what it cannot read. */
export const createStreamReader = ({ client, upcast }: Readonly<{ client: EventStoreDBClient; upcast: Upcast }>) => {
  const page = async (stream: string, from: bigint) => {
    try {
      const records: (RecordedEvent | UnreadableRecord | undefined)[] = [];
      let last = from - 1n;
      const options = { fromRevision: from, direction: FORWARDS, maxCount: pageSize } as const;
      for await (const { event } of client.readStream(stream, options)) {
        if (!event) continue;
        last = event.revision;
        records.push(toKnownRecorded(event, upcast));
      }
      return { records, last };
    } catch (error) {
      if (error instanceof StreamNotFoundError) return { records: [], last: from - 1n };
      throw error;
    }
  };

  return async function* readStream(stream: string, { from, to }: Range) {
    for (let next = from; next <= to; ) {
      const start = next;
      const { records, last } = await withRetry(() => page(stream, start), defaultRetry);
      for (const record of records) if (record && record.revision <= to) yield record;
      if (records.length < pageSize) return;
      next = last + 1n;
    }
  };
};
