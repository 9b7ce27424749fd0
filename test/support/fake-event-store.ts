import { type EventFeed, type EventStore, type FeedItem, noEvents, RevisionConflict } from '#commands/ports.ts';
import type { DomainEvent } from '#domain/decider.ts';
import type { RecordedEvent } from '#domain/recorded-event.ts';
import { eventIdFor } from '#infra/event-store/recorded.ts';
import type { ReadStream } from '#projections/ports.ts';
import { eventVersions } from '../../src/composition/event-registry.ts';

type Bounds = Parameters<EventStore['bound']>[1];

export type FakeEventStore = EventStore &
  Readonly<{
    feed: EventFeed;
    readStream: ReadStream;
    /** The whole log, also what bounds hide. */
    log: readonly RecordedEvent[];
    /** Events handed out by reads so far. */
    readCount: () => number;
    typesIn: (stream: string) => readonly string[];
  }>;

/** As a store keeps it: through JSON. */
const stored = <T>(value: T): T => JSON.parse(JSON.stringify(value)) as T;

const isVisible = (count: number, last: bigint, bounds: Bounds) => (event: RecordedEvent) => {
  const { maxCount, truncateBefore, maxAgeSeconds } = bounds;
  if (truncateBefore !== undefined && event.revision < truncateBefore) return false;
  if (maxAgeSeconds !== undefined && Date.parse(event.recordedAt) < Date.now() - maxAgeSeconds * 1000) return false;
  return count === 0 || maxCount === undefined || event.revision > last - BigInt(maxCount);
};

/** An event store in memory; what it promises is the contract that it passes together with the real one. */
export const createFakeEventStore = (): FakeEventStore => {
  const log: RecordedEvent[] = [];
  const boundsOf = new Map<string, Bounds>();
  const grown = new EventTarget();
  let readCount = 0;

  const all = (stream: string) => log.filter((event) => event.stream === stream);
  const visible = <E extends DomainEvent>(stream: string): readonly RecordedEvent<E>[] => {
    const events = all(stream);
    const last = events.at(-1)?.revision ?? noEvents;
    return events.filter(isVisible(events.length, last, boundsOf.get(stream) ?? {})) as RecordedEvent<E>[];
  };

  const append: EventStore['append'] = async (stream, events, expected, context) => {
    const existing = all(stream);
    const ids = events.map((event, index) =>
      eventIdFor(context.commandId, { stream, revision: expected + BigInt(index) }, event),
    );
    const repeated = existing.slice(Number(expected) + 1, Number(expected) + 1 + ids.length);
    if (ids.length > 0 && repeated.length === ids.length && repeated.every(({ id }, index) => id === ids[index])) {
      return { revision: expected + BigInt(ids.length), position: repeated.at(-1)?.position ?? 0n };
    }
    if (BigInt(existing.length) - 1n !== expected) throw new RevisionConflict(stream);
    events.forEach((event, index) => {
      log.push({
        event: stored(event),
        id: ids[index] as string,
        stream,
        revision: expected + BigInt(index) + 1n,
        position: BigInt(log.length + 1) * 100n,
        recordedAt: new Date().toISOString(),
        metadata: stored({
          $correlationId: context.correlationId,
          ...(context.causationId === undefined ? {} : { $causationId: context.causationId }),
          by: context.actor,
          v: eventVersions[event.type] ?? 1,
        }),
      });
    });
    grown.dispatchEvent(new Event('grown'));
    return { revision: expected + BigInt(events.length), position: BigInt(log.length) * 100n };
  };

  async function* iterate<E extends DomainEvent>(events: readonly RecordedEvent<E>[]) {
    for (const event of events) {
      readCount += 1;
      yield event;
    }
  }

  const waitForMore = (signal: AbortSignal): Promise<void> => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const more = () => resolve();
    grown.addEventListener('grown', more, { once: true });
    signal.addEventListener('abort', more, { once: true });
    return promise.finally(() => signal.removeEventListener('abort', more));
  };

  const subscribe: EventFeed['subscribe'] = async function* (from, { streamPrefixes, maxBatch = 500 }, signal) {
    let seen = from === 'end' ? (log.at(-1)?.position ?? 0n) : from;
    const wanted = ({ stream }: RecordedEvent) => streamPrefixes?.some((prefix) => stream.startsWith(prefix)) ?? true;
    while (!signal.aborted) {
      for (;;) {
        const next = log.filter((event) => event.position > seen && wanted(event)).slice(0, maxBatch);
        if (next.length === 0 || signal.aborted) break;
        seen = next.at(-1)?.position ?? seen;
        yield { kind: 'events', events: next, position: seen } satisfies FeedItem;
      }
      if (signal.aborted) return;
      seen = log.at(-1)?.position ?? seen;
      const more = waitForMore(signal);
      yield { kind: 'caught-up', position: seen } satisfies FeedItem;
      if (!log.some(({ position }) => position > seen)) await more;
    }
  };

  return {
    append,
    read: async <E extends DomainEvent>(stream: string) => {
      const events = visible<E>(stream);
      readCount += events.length;
      return { events, revision: events.at(-1)?.revision ?? noEvents };
    },
    readBackwards: <E extends DomainEvent>(stream: string) => iterate(visible<E>(stream).toReversed()),
    readForwards: <E extends DomainEvent>(stream: string, fromRevision: bigint) =>
      iterate(visible<E>(stream).filter(({ revision }) => revision >= fromRevision)),
    bound: async (stream, bounds) => {
      boundsOf.set(stream, { ...boundsOf.get(stream), ...bounds });
    },
    feed: { subscribe, head: async () => log.at(-1)?.position ?? 0n },
    readStream: (stream, { from, to }) =>
      iterate(visible(stream).filter(({ revision }) => revision >= from && revision <= to)),
    log,
    readCount: () => readCount,
    typesIn: (stream) => all(stream).map(({ event }) => event.type),
  };
};
