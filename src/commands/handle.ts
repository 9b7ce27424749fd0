import type { Decider, DomainEvent } from '#domain/decider.ts';
import { fold } from '#domain/decider.ts';
import { type CommandContext, type EventStore, noEvents, RevisionConflict, type StreamRevision } from './ports.ts';

export type Loaded<State> = Readonly<{
  state: State;
  revision: StreamRevision;
  /** Events since the last one that tells the whole state. */
  depth: number;
}>;

export type Handled<State, Event> = Readonly<{
  /** What was decided; empty when the facts held already. */
  events: readonly Event[];
  /** The state with those events. */
  state: State;
  /** Of the last event appended; undefined when nothing was. Wait for a read model to pass it to read your own write. */
  position: bigint | undefined;
  /** Of the stream, with those events. */
  revision: StreamRevision;
  /** These were the stream's first events: the moment to bound it. */
  first: boolean;
}>;

/** Ten lost races in a row mean that something else is wrong. */
const maxAttempts = 10;

const loadBack = async <S, C, E extends DomainEvent>(
  store: EventStore,
  decider: Decider<S, C, E>,
  stream: string,
): Promise<Loaded<S>> => {
  const newestFirst: E[] = [];
  let revision = noEvents;
  for await (const recorded of store.readBackwards<E>(stream)) {
    if (revision === noEvents) revision = recorded.revision;
    newestFirst.push(recorded.event);
    if (decider.isWholeState?.(recorded.event)) break;
  }
  return { state: fold(decider, newestFirst.reverse()), revision, depth: newestFirst.length };
};

/** The state of one stream, as of now. */
export const load = async <S, C, E extends DomainEvent>(
  store: EventStore,
  decider: Decider<S, C, E>,
  stream: string,
): Promise<Loaded<S>> => {
  if (decider.isWholeState) return loadBack(store, decider, stream);
  const { events, revision } = await store.read<E>(stream);
  const state = fold(
    decider,
    events.map(({ event }) => event),
  );
  return { state, revision, depth: events.length };
};

const withCarryForward = <S, C, E extends DomainEvent>(
  decider: Decider<S, C, E>,
  decided: readonly E[],
  after: S,
  depth: number,
): readonly E[] => {
  const { carryForward } = decider;
  return carryForward && depth + decided.length >= carryForward.everyEvents
    ? [...decided, carryForward.toEvent(after)]
    : decided;
};

type Target<S, C, E extends DomainEvent> = Readonly<{
  decider: Decider<S, C, E>;
  stream: string;
  /** What the caller has just loaded; when it is outdated, the append conflicts and the stream is loaded after all. */
  loaded?: Loaded<S>;
}>;

/** Load, fold, decide, append. On a conflict it decides again on the newer state: safe, `decide` has no effects. */
export const handle = <S, C extends Readonly<{ type: string }>, E extends DomainEvent>(
  store: EventStore,
  target: Target<S, C, E>,
  command: C,
  context: CommandContext,
): Promise<Handled<S, E>> => {
  const work = () => decideAndAppend(store, target, command, context);
  return store.command?.({ name: command.type, stream: target.stream, context }, work) ?? work();
};

const decideAndAppend = async <S, C, E extends DomainEvent>(
  store: EventStore,
  target: Target<S, C, E>,
  command: C,
  context: CommandContext,
): Promise<Handled<S, E>> => {
  const { decider, stream } = target;
  for (let attempt = 1; ; attempt += 1) {
    const fresh = attempt === 1 ? target.loaded : undefined;
    const { state, revision, depth } = fresh ?? (await load(store, decider, stream));
    const events = decider.decide(command, state);
    if (events.length === 0) return { events, state, position: undefined, revision, first: false };
    const after = events.reduce(decider.evolve, state);
    try {
      const appended = withCarryForward(decider, events, after, depth);
      const last = await store.append(stream, appended, revision, context);
      return { events, state: after, ...last, first: revision === noEvents };
    } catch (error) {
      if (!(error instanceof RevisionConflict) || attempt === maxAttempts) throw error;
    }
  }
};
