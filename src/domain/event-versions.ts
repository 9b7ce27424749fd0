import type { DomainEvent } from './decider.ts';

/** The newest schema version of each event type of a concept; a type left out does not compile. */
export type Versions<Event extends DomainEvent> = Readonly<Record<Event['type'], number>>;

type Data = Readonly<Record<string, unknown>>;

/** `<type>.v<n>` to the data of n + 1. Append only: a released step is history. */
export type UpcasterSteps = Readonly<Record<string, (data: Data) => Data>>;

/** A history that this program cannot read: half of it would decide wrongly, so the reader stops. */
export class UnreadableEvent extends Error {
  /** Whether the type is known, in another version. */
  readonly knownType: boolean;

  constructor(type: string, version: number, knownType = true) {
    super(
      `event ${type} v${version} is unknown to this version of the hub; run the version that wrote it, or a newer one`,
    );
    this.name = 'UnreadableEvent';
    this.knownType = knownType;
  }
}

/** Lifts stored data to the newest version, step by step. Throws `UnreadableEvent` for an unknown type or a newer version. */
export const createUpcaster =
  (versions: Readonly<Record<string, number>>, steps: UpcasterSteps) =>
  (type: string, version: number, data: Data): Data => {
    const newest = versions[type];
    if (newest === undefined || version > newest) throw new UnreadableEvent(type, version, newest !== undefined);
    let lifted = data;
    for (let from = version; from < newest; from += 1) {
      const step = steps[`${type}.v${from}`];
      if (!step) throw new UnreadableEvent(type, from);
      lifted = step(lifted);
    }
    return lifted;
  };
