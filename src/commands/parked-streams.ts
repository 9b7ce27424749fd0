import { DomainError } from '#domain/errors.ts';
import { parkedStreamDecider } from '#domain/parked-stream/parked-stream.ts';
import { streamOf } from '#domain/streams.ts';
import { handle } from './handle.ts';
import type { Clock, CommandContext, EventStore } from './ports.ts';

/** The event that holds a stream up, as the read model tells it. */
export type PoisonEvent = Readonly<{ revision: number; eventId: string; eventType: string }>;

type Deps = Readonly<{
  store: EventStore;
  clock: Clock;
  parked: (projection: string, stream: string) => Promise<PoisonEvent | undefined>;
}>;

type Place = Readonly<{ projection: string; stream: string }>;

const findParked = async ({ parked }: Deps, { projection, stream }: Place): Promise<PoisonEvent> => {
  const found = await parked(projection, stream);
  if (found) return found;
  throw new DomainError('stream-not-parked', `${projection} has not parked the stream ${stream}`, {
    projection,
    stream,
  });
};

type Decided = Readonly<{ position: bigint | undefined }>;

/** Has the events of a parked stream applied again, in order. Throws `stream-not-parked`. */
export const createRetryParkedStream =
  (deps: Deps) =>
  async (place: Place, context: CommandContext): Promise<Decided> => {
    const { revision } = await findParked(deps, place);
    const data = { ...place, revision, at: deps.clock.now() };
    const stream = streamOf.parkedStreams(place.projection);
    return handle(deps.store, { decider: parkedStreamDecider, stream }, { type: 'RetryParkedStream', data }, context);
  };

/** Leaves out the one event that holds a parked stream up, for good, and goes on behind it. Throws `stream-not-parked`. */
export const createSkipPoisonEvent =
  (deps: Deps) =>
  async (place: Place, reason: string, context: CommandContext): Promise<Decided> => {
    const { revision, eventId, eventType } = await findParked(deps, place);
    const data = { ...place, revision, eventId, eventType, reason, at: deps.clock.now() };
    const stream = streamOf.parkedStreams(place.projection);
    return handle(deps.store, { decider: parkedStreamDecider, stream }, { type: 'SkipPoisonEvent', data }, context);
  };
