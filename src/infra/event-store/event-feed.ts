import { once } from 'node:events';
import {
  type AllStreamResolvedEvent,
  type AllStreamSubscription,
  BACKWARDS,
  END,
  type EventStoreDBClient,
  START,
  streamNameFilter,
} from '@eventstore/db-client';
import type { EventFeed, FeedItem, FeedStart } from '#commands/ports.ts';
import type { RecordedEvent, UnreadableRecord } from '#domain/recorded-event.ts';
import { isUnreadable, toKnownRecorded, type Upcast } from './recorded.ts';
import { defaultRetry, withRetry } from './retry.ts';

const startOf = (from: FeedStart) => {
  if (from === 'end') return END;
  return from === 0n ? START : { commit: from, prepare: from };
};

/** What lies ready in the subscription's buffer, at most `max`; empty when nothing does. */
const takeReady = (subscription: AllStreamSubscription, max: number): readonly AllStreamResolvedEvent[] => {
  const taken: AllStreamResolvedEvent[] = [];
  while (taken.length < max) {
    const next = subscription.read() as AllStreamResolvedEvent | null;
    if (next === null) break;
    taken.push(next);
  }
  return taken;
};

/**
 * Catch-up subscriptions with back-pressure: the subscription is read in paused mode, so that what the reader has not
 * taken stays with the store.
 */
export const createEventFeed = ({
  client,
  upcast,
}: Readonly<{ client: EventStoreDBClient; upcast: Upcast }>): EventFeed => {
  async function* subscribe(
    from: FeedStart,
    { streamPrefixes, maxBatch = 500 }: Readonly<{ streamPrefixes?: readonly string[]; maxBatch?: number }>,
    signal: AbortSignal,
  ): AsyncIterable<FeedItem> {
    let seen = from === 'end' ? 0n : from;
    let caughtUp = false;
    const checkpoint = (_: AllStreamSubscription, position: { commit: bigint }) => {
      if (position.commit > checkpointed) checkpointed = position.commit;
    };
    let checkpointed = seen;
    // Without prefixes nothing is filtered: system events advance the position, so that the lag can reach zero.
    const filter = streamPrefixes
      ? { filter: streamNameFilter({ prefixes: [...streamPrefixes], checkpointReached: checkpoint }) }
      : {};
    const subscription = client.subscribeToAll({ fromPosition: startOf(from), ...filter }, { highWaterMark: maxBatch });
    const wake = new EventTarget();
    const ring = () => wake.dispatchEvent(new Event('ring'));
    let failure: unknown;
    let ended = false;
    subscription.on('readable', ring);
    subscription.on('caughtUp', () => {
      caughtUp = true;
      ring();
    });
    subscription.on('error', (error: unknown) => {
      failure ??= error;
      ring();
    });
    for (const over of ['end', 'close'] as const) {
      subscription.on(over, () => {
        ended = true;
        ring();
      });
    }
    signal.addEventListener('abort', ring, { once: true });
    try {
      while (!signal.aborted) {
        // Listen first, look second: what arrives in between rings and is not slept over.
        const rung = once(wake, 'ring');
        const ready = takeReady(subscription, maxBatch);
        const events: RecordedEvent[] = [];
        const unreadable: UnreadableRecord[] = [];
        for (const { event } of ready) {
          if (!event) continue;
          seen = event.position.commit;
          const recorded = toKnownRecorded(event, upcast);
          if (recorded === undefined) continue;
          if (isUnreadable(recorded)) unreadable.push(recorded);
          else events.push(recorded);
        }
        if (ready.length > 0) {
          yield { kind: 'events', events, position: seen, ...(unreadable.length > 0 ? { unreadable } : {}) };
          continue;
        }
        if (caughtUp) {
          caughtUp = false;
          yield { kind: 'caught-up', position: checkpointed > seen ? checkpointed : seen };
          continue;
        }
        if (failure !== undefined) throw failure;
        if (ended) throw new Error('the subscription ended');
        await rung;
      }
    } finally {
      signal.removeEventListener('abort', ring);
      await subscription.unsubscribe().catch(() => undefined);
      // Read to its end instead of destroyed: the client waits for the call below it to finish when it is disposed of.
      subscription.resume();
    }
  }

  const head: EventFeed['head'] = (signal) =>
    withRetry(
      async () => {
        let newest = 0n;
        // Read to its end, for the same reason as above.
        for await (const { event } of client.readAll({ direction: BACKWARDS, fromPosition: END, maxCount: 1 })) {
          if (event) newest = event.position.commit;
        }
        return newest;
      },
      defaultRetry,
      signal,
    );

  return { subscribe, head };
};
