import type { ParkedStreamEvent } from '#domain/parked-stream/parked-stream.ts';
import type { RecordedEvent, UnreadableRecord } from '#domain/recorded-event.ts';
import { streamOf } from '#domain/streams.ts';
import type { ReadStream } from './ports.ts';
import type { AnyProjection } from './projection.ts';

type Place = Readonly<{ stream: string; revision: bigint }>;

/**
 * What was ever decided about poison events. Who applies the log again (a rebuild) must come to the same rows: it parks a
 * stream where it was parked then, without trying, and goes on where the decision stands in the log.
 */
export type Decisions = Readonly<{
  /** Whether the event was still to be decided about at that position. */
  isOpenAt: (projection: string, place: Place, position: bigint) => boolean;
}>;

export const noDecisions: Decisions = { isOpenAt: () => false };

const lastPosition = 2n ** 64n;

/** The decision in an event for this projection, if it is one. */
export const decisionIn = (
  { event }: Pick<RecordedEvent, 'event'>,
  projection: string,
): ParkedStreamEvent | undefined => {
  const { type, data } = event as ParkedStreamEvent;
  if (type !== 'ParkedStreamRetried' && type !== 'PoisonEventSkipped') return undefined;
  return data.projection === projection ? ({ type, data } as ParkedStreamEvent) : undefined;
};

const isRecorded = (record: RecordedEvent | UnreadableRecord): record is RecordedEvent => 'event' in record;

export const readDecisions = async (
  readStream: ReadStream,
  projections: readonly AnyProjection[],
): Promise<Decisions> => {
  const decidedAt = new Map<string, bigint>();
  const keyOf = (projection: string, { stream, revision }: Place) => `${projection}\n${stream}\n${revision}`;
  for (const { name } of projections) {
    for await (const record of readStream(streamOf.parkedStreams(name), { from: 0n, to: lastPosition })) {
      const decision = isRecorded(record) ? decisionIn(record, name) : undefined;
      if (!decision) continue;
      const { stream, revision } = decision.data;
      // A store that tells no positions with a stream's events: then none comes after it.
      const position = record.position === 0n ? lastPosition : record.position;
      decidedAt.set(keyOf(name, { stream, revision: BigInt(revision) }), position);
    }
  }
  if (decidedAt.size === 0) return noDecisions;
  return { isOpenAt: (projection, place, position) => (decidedAt.get(keyOf(projection, place)) ?? 0n) > position };
};
