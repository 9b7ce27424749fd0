/** Everything up to `place` is dealt with, which is `sequence` events further than where the group began. */
export type Done = Readonly<{ sequence: number; place: number }>;

/**
 * How far a group is: events are settled in any order, and only what precedes the first that is not may be forgotten.
 * Counts also what was looked at and not wanted, so that a filtered group gets on as well.
 */
export class Progress {
  /** What is not settled by its number, in order: the place before it. */
  readonly #open = new Map<number, number | undefined>();
  #lastSequence = -1;
  #lastPlace: number | undefined;

  /** Undefined: nothing is known to be done. */
  constructor(resumedAfter: number | undefined) {
    this.#lastPlace = resumedAfter;
  }

  /** Returns its number. */
  begin(place: number): number {
    const before = this.#lastPlace;
    this.skip(place);
    this.#open.set(this.#lastSequence, before);
    return this.#lastSequence;
  }

  skip(place: number): void {
    this.#lastSequence += 1;
    this.#lastPlace = place;
  }

  settle(sequence: number): void {
    this.#open.delete(sequence);
  }

  get done(): Done | undefined {
    const [first] = this.#open;
    const [sequence, place] = first ? [first[0] - 1, first[1]] : [this.#lastSequence, this.#lastPlace];
    return place === undefined ? undefined : { sequence, place };
  }
}
