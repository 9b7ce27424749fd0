import type { Subject } from 'rxjs';
import type { EventStore } from '#commands/ports.ts';
import type { Decider, DomainEvent } from '#domain/decider.ts';
import type { RecordedEvent } from '#domain/recorded-event.ts';

export type StreamWatchDeps = Readonly<{
  store: Pick<EventStore, 'read'>;
  /** Events that the read model holds, as they come. */
  applied: Subject<RecordedEvent>;
  waitFor: (position: bigint, timeoutMs: number) => Promise<boolean>;
  patienceMs: number;
}>;

type Watched<State, Event extends DomainEvent> = Readonly<{
  stream: string;
  decider: Pick<Decider<State, never, Event>, 'initialState' | 'evolve'>;
  until: (state: State) => boolean;
}>;

const readModelPatienceMs = 5_000;

/** A stream as far as it was seen; events that were seen already are passed over. */
const follow = <State, Event extends DomainEvent>({ decider }: Watched<State, Event>) => {
  let state = decider.initialState;
  let position = 0n;
  return {
    take: (event: RecordedEvent): void => {
      if (event.position <= position) return;
      position = event.position;
      state = decider.evolve(state, event.event as Event);
    },
    seen: () => ({ state, position }),
  };
};

/**
 * Waits, a bounded time, until a stream has come to a state, whichever hub brings it there, and until the read model shows
 * it; returns the state as it is then.
 */
export const createStreamWatch =
  ({ store, applied, waitFor, patienceMs }: StreamWatchDeps) =>
  async <State, Event extends DomainEvent>(watched: Watched<State, Event>, signal: AbortSignal): Promise<State> => {
    const { stream, until } = watched;
    const followed = follow(watched);
    const { promise: over, resolve } = Promise.withResolvers<void>();
    const check = (): void => {
      if (until(followed.seen().state)) resolve();
    };
    // Events that come while the stream is read wait for it: they are in it, or follow it.
    let early: RecordedEvent[] | undefined = [];
    const subscription = applied.subscribe((event) => {
      if (event.stream !== stream) return;
      if (early) early.push(event);
      else {
        followed.take(event);
        check();
      }
    });
    const timer = setTimeout(resolve, patienceMs);
    const leave = (): void => resolve();
    signal.addEventListener('abort', leave, { once: true });
    try {
      const { events } = await store.read<Event>(stream, signal);
      for (const event of [...events, ...early]) followed.take(event);
      early = undefined;
      check();
      await over;
    } finally {
      subscription.unsubscribe();
      clearTimeout(timer);
      signal.removeEventListener('abort', leave);
    }
    const { state, position } = followed.seen();
    await waitFor(position, readModelPatienceMs);
    return state;
  };
