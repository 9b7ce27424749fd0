import {
  BACKWARDS,
  END,
  type EventStoreDBClient,
  FORWARDS,
  jsonEvent,
  NO_STREAM,
  StreamNotFoundError,
  WrongExpectedVersionError,
} from '@eventstore/db-client';
import {
  type AppendResult,
  type CommandContext,
  type EventStore,
  type LoadedStream,
  noEvents,
  RevisionConflict,
} from '#commands/ports.ts';
import type { DomainEvent } from '#domain/decider.ts';
import type { RecordedEvent } from '#domain/recorded-event.ts';
import { eventIdFor, toRecorded, type Upcast } from './recorded.ts';
import { defaultRetry, type RetryLimits, withRetry } from './retry.ts';

export type EventStoreOptions = Readonly<{
  client: EventStoreDBClient;
  upcast: Upcast;
  /** Newest schema version by event type, written into metadata. */
  versions: Readonly<Record<string, number>>;
  retry?: RetryLimits;
}>;

/** Events a page; streams of jobs have about thirty, so one page is the rule. */
const pageSize = 256;

/**
 * PostgreSQL stores no NUL in text, so one in an event (what a broken node answered, what a program printed) would stop the
 * read models for good. It means nothing to anybody: it becomes the replacement character.
 */
const withoutNul = (data: object): Record<string, unknown> => {
  const text = JSON.stringify(data);
  return text.includes('\\u0000') ? JSON.parse(text.replaceAll('\\u0000', '\\ufffd')) : { ...data };
};

/** All access to EventStoreDB for commands: reads one stream, appends with an expected revision. */
export const createEventStore = ({ client, upcast, versions, retry = defaultRetry }: EventStoreOptions): EventStore => {
  const page = async <E extends DomainEvent>(
    stream: string,
    from: bigint | typeof END,
    direction: typeof FORWARDS | typeof BACKWARDS,
    maxCount: number,
  ): Promise<readonly RecordedEvent<E>[]> => {
    try {
      const events: RecordedEvent<E>[] = [];
      for await (const { event } of client.readStream(stream, { fromRevision: from, direction, maxCount })) {
        if (event) events.push(toRecorded(event, upcast) as RecordedEvent<E>);
      }
      return events;
    } catch (error) {
      if (error instanceof StreamNotFoundError) return [];
      throw error;
    }
  };

  async function* readForwards<E extends DomainEvent>(stream: string, fromRevision: bigint, signal?: AbortSignal) {
    for (let from = fromRevision; ; ) {
      const start = from;
      const events = await withRetry(() => page<E>(stream, start, FORWARDS, pageSize), retry, signal);
      yield* events;
      const last = events.at(-1);
      if (!last || events.length < pageSize) return;
      from = last.revision + 1n;
    }
  }

  /** Small pages first: most who read backwards want the newest event only. */
  async function* readBackwards<E extends DomainEvent>(stream: string, signal?: AbortSignal) {
    let from: bigint | typeof END = END;
    for (let size = 1; ; size = Math.min(size * 16, pageSize)) {
      const start: bigint | typeof END = from;
      const events: readonly RecordedEvent<E>[] = await withRetry(
        () => page<E>(stream, start, BACKWARDS, size),
        retry,
        signal,
      );
      yield* events;
      const last = events.at(-1);
      if (!last || last.revision === 0n || events.length < size) return;
      from = last.revision - 1n;
    }
  }

  const read = async <E extends DomainEvent>(stream: string, signal?: AbortSignal): Promise<LoadedStream<E>> => {
    const events: RecordedEvent<E>[] = [];
    for await (const recorded of readForwards<E>(stream, 0n, signal)) events.push(recorded);
    return { events, revision: events.at(-1)?.revision ?? noEvents };
  };

  const append = async (
    stream: string,
    events: readonly DomainEvent[],
    expected: bigint,
    context: CommandContext,
  ): Promise<AppendResult> => {
    const metadata = {
      $correlationId: context.correlationId,
      ...(context.causationId === undefined ? {} : { $causationId: context.causationId }),
      by: context.actor,
    };
    const stored = events.map(({ type, data }, index) =>
      jsonEvent({
        id: eventIdFor(context.commandId, { stream, revision: expected + BigInt(index) }, { type, data }),
        type,
        data: withoutNul(data),
        metadata: { ...metadata, v: versions[type] ?? 1 },
      }),
    );
    try {
      const expectedRevision = expected === noEvents ? NO_STREAM : expected;
      const result = await withRetry(() => client.appendToStream(stream, stored, { expectedRevision }), retry);
      const appended = { revision: result.nextExpectedRevision, position: result.position?.commit ?? 0n };
      const ids = stored.map(({ id }) => id);
      context.onAppended?.({ stream, types: events.map(({ type }) => type), ids, ...appended });
      return appended;
    } catch (error) {
      if (error instanceof WrongExpectedVersionError) throw new RevisionConflict(stream, { cause: error });
      throw error;
    }
  };

  const bound: EventStore['bound'] = async (stream, { maxCount, maxAgeSeconds, truncateBefore }) => {
    const { metadata } = await withRetry(() => client.getStreamMetadata(stream), retry);
    const wanted = {
      ...metadata,
      ...(maxCount === undefined ? {} : { maxCount }),
      ...(maxAgeSeconds === undefined ? {} : { maxAge: maxAgeSeconds }),
      ...(truncateBefore === undefined ? {} : { truncateBefore: Number(truncateBefore) }),
    };
    await withRetry(() => client.setStreamMetadata(stream, wanted), retry);
  };

  return { read, readBackwards, readForwards, append, bound };
};
