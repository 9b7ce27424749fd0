import type { Decider } from '../decider.ts';
import type { Versions } from '../event-versions.ts';

type Parked = Readonly<{
  projection: string;
  stream: string;
  /** Of the event that could not be applied when this was decided; later ones of its stream wait behind it. */
  revision: number;
  at: string;
}>;

/**
 * What was decided about streams that a projection has parked, one stream of events per projection. A projection acts on
 * them where they stand in the log, so that every hub, and every rebuild, does the same at the same place.
 */
export type ParkedStreamEvent =
  | Readonly<{ type: 'ParkedStreamRetried'; data: Parked }>
  | Readonly<{
      type: 'PoisonEventSkipped';
      data: Parked & Readonly<{ eventId: string; eventType: string; reason: string }>;
    }>;

export type ParkedStreamCommand =
  | Readonly<{ type: 'RetryParkedStream'; data: Parked }>
  | Readonly<{
      type: 'SkipPoisonEvent';
      data: Parked & Readonly<{ eventId: string; eventType: string; reason: string }>;
    }>;

/** What was skipped, as `<stream>@<revision>`. */
export type ParkedStreamState = ReadonlySet<string>;

const place = ({ stream, revision }: Parked): string => `${stream}@${revision}`;

const decide = (command: ParkedStreamCommand, skipped: ParkedStreamState): readonly ParkedStreamEvent[] => {
  // An event is skipped once: who asks again, or for a retry that could not bring it back, asks for nothing.
  if (skipped.has(place(command.data))) return [];
  switch (command.type) {
    case 'RetryParkedStream':
      return [{ type: 'ParkedStreamRetried', data: command.data }];
    case 'SkipPoisonEvent':
      return [{ type: 'PoisonEventSkipped', data: command.data }];
  }
};

const evolve = (skipped: ParkedStreamState, event: ParkedStreamEvent): ParkedStreamState => {
  switch (event.type) {
    case 'ParkedStreamRetried':
      return skipped;
    case 'PoisonEventSkipped':
      return new Set([...skipped, place(event.data)]);
  }
};

export const parkedStreamDecider: Decider<ParkedStreamState, ParkedStreamCommand, ParkedStreamEvent> = {
  initialState: new Set(),
  decide,
  evolve,
};

export const parkedStreamEventVersions: Versions<ParkedStreamEvent> = {
  ParkedStreamRetried: 1,
  PoisonEventSkipped: 1,
};
