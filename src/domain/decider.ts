/** What every stored fact looks like to the domain: a past-tense type and its data. */
export type DomainEvent = Readonly<{ type: string; data: object }>;

/**
 * One aggregate as three values. `decide` is pure: new facts, `[]` when they already hold, or a thrown `DomainError`.
 * `evolve` is total: it neither throws nor validates, so every stored history can be folded for ever.
 */
export type Decider<State, Command, Event extends DomainEvent> = Readonly<{
  initialState: State;
  decide: (command: Command, state: State) => readonly Event[];
  evolve: (state: State, event: Event) => State;
  /**
   * For aggregates without an end: an event for which this holds tells the whole state, so a load reads back to the newest
   * such event and no further. `evolve` must take it as the complete state.
   */
  isWholeState?: (event: Event) => boolean;
  /** Appends `toEvent(state)`, for which `isWholeState` holds, once that many events came since the last one. */
  carryForward?: Readonly<{ everyEvents: number; toEvent: (state: State) => Event }>;
}>;

/** Folds a history. */
export const fold = <State, Event extends DomainEvent>(
  decider: Pick<Decider<State, never, Event>, 'initialState' | 'evolve'>,
  events: Iterable<Event>,
): State => {
  let state = decider.initialState;
  for (const event of events) state = decider.evolve(state, event);
  return state;
};
