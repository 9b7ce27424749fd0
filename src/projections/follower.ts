import { applyBatch } from './apply.ts';
import type { Target } from './batch.ts';
import type { EventSource, SourceEvents, SourceItem } from './ports.ts';

/** Applies the log from its beginning to generations that are being built, step by step, at the builder's pace. */
export interface Follower {
  /** One batch more, no event beyond `limit`. Waits for one that is still to come; returns false when it took too long. */
  step(options?: Readonly<{ limit?: bigint; patienceMs?: number }>): Promise<boolean>;
  position(): bigint;
  eventsDone(): number;
  /** The end of the log was reached once. */
  caughtUp(): boolean;
  close(): Promise<void>;
}

const tooLate = Symbol('too late');

const waitAtMost = <T>(promise: Promise<T>, patienceMs: number | undefined): Promise<T | typeof tooLate> => {
  if (patienceMs === undefined) return promise;
  const { promise: late, resolve } = Promise.withResolvers<typeof tooLate>();
  const timer = setTimeout(() => resolve(tooLate), patienceMs);
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};

/** What may be applied, and what must wait for a later step. */
const split = (item: SourceEvents, limit: bigint): readonly [SourceEvents, SourceEvents | undefined] => {
  if (item.position <= limit) return [item, undefined];
  const { events, unreadable = [], position } = item;
  const now = {
    events: events.filter((event) => event.position <= limit),
    unreadable: unreadable.filter((record) => record.position <= limit),
  };
  const later = {
    events: events.filter((event) => event.position > limit),
    unreadable: unreadable.filter((record) => record.position > limit),
  };
  return [
    { ...now, position: limit },
    { ...later, position },
  ];
};

const batchSize = 500;

export const followFromStart = (source: EventSource, target: Target, signal: AbortSignal): Follower => {
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  const items = source.subscribe(0n, { maxBatch: batchSize }, either)[Symbol.asyncIterator]();
  let coming: Promise<IteratorResult<SourceItem>> | undefined;
  let held: SourceEvents | undefined;
  let position = 0n;
  let eventsDone = 0;
  let caughtUp = false;

  const apply = async (item: SourceEvents, limit: bigint): Promise<void> => {
    const [now, later] = split(item, limit);
    held = later;
    await applyBatch(target, now);
    position = now.position;
    eventsDone += now.events.length + (now.unreadable?.length ?? 0);
  };

  const step: Follower['step'] = async ({ limit, patienceMs } = {}) => {
    const last = limit ?? 2n ** 64n;
    if (held) {
      await apply(held, last);
      return true;
    }
    coming ??= items.next();
    const result = await waitAtMost(coming, patienceMs);
    if (result === tooLate) return false;
    coming = undefined;
    signal.throwIfAborted();
    if (result.done) throw new Error('the log ended');
    if (result.value.kind === 'caught-up') caughtUp = true;
    else await apply(result.value, last);
    return true;
  };

  return {
    step,
    position: () => position,
    eventsDone: () => eventsDone,
    caughtUp: () => caughtUp,
    close: async () => {
      stop.abort();
      await coming?.catch(() => undefined);
      await items.return?.();
    },
  };
};
