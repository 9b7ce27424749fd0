import type { AppendResult, CommandContext, EventStore } from '#commands/ports.ts';
import type { DomainEvent } from '#domain/decider.ts';

export type ObservedAppend = Readonly<{ stream: string; events: readonly DomainEvent[]; context: CommandContext }>;

/** Watches an event store. Each call has to run `work` once and return, or throw, what came of it. */
export interface EventStoreObserver {
  append(facts: ObservedAppend, work: () => Promise<AppendResult>): Promise<AppendResult>;
  /** Until the first events are there; who reads page by page sets the pace of the rest. */
  read<T>(stream: string, work: () => Promise<T>): Promise<T>;
  command?: NonNullable<EventStore['command']>;
}

/** The first step of an iteration is observed. */
async function* observeFirst<T>(
  items: AsyncIterable<T>,
  first: (work: () => Promise<IteratorResult<T>>) => Promise<IteratorResult<T>>,
) {
  const iterator = items[Symbol.asyncIterator]();
  try {
    let step = await first(() => iterator.next());
    while (!step.done) {
      yield step.value;
      step = await iterator.next();
    }
  } finally {
    await iterator.return?.();
  }
}

/** The same store, watched. */
export const observeEventStore = (store: EventStore, observer: EventStoreObserver): EventStore => ({
  ...store,
  read: (stream, signal) => observer.read(stream, () => store.read(stream, signal)),
  readBackwards: (stream, signal) =>
    observeFirst(store.readBackwards(stream, signal), (work) => observer.read(stream, work)),
  readForwards: (stream, fromRevision, signal) =>
    observeFirst(store.readForwards(stream, fromRevision, signal), (work) => observer.read(stream, work)),
  append: (stream, events, expected, context) =>
    observer.append({ stream, events, context }, () => store.append(stream, events, expected, context)),
  ...(observer.command ? { command: nested(observer.command, store.command) } : {}),
});

type Command = NonNullable<EventStore['command']>;

const nested =
  (outer: Command, inner: Command | undefined): Command =>
  (facts, work) =>
    outer(facts, inner ? () => inner(facts, work) : work);
