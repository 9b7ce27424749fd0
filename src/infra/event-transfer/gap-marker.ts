import { eventIdFor } from '../event-store/recorded.ts';
import type { ProposedBytes } from './log-writer.ts';
import { gapType, jsonContent, type StoredEvent } from './stored-event.ts';

const emptyJson = Buffer.from('{}');

type Place = Readonly<{ stream: string; revision: bigint }>;

/** Every import makes the same one, by which the next import recognises it. */
const idOf = ({ stream, revision }: Place): string =>
  eventIdFor(gapType, { stream, revision }, { type: gapType, data: {} });

/** Holds the place of an event that no longer existed when its log was exported. */
export const gapMarker = (place: Place): ProposedBytes => ({
  id: idOf(place),
  type: gapType,
  contentType: jsonContent,
  metadata: new Uint8Array(),
  data: emptyJson,
});

export const isGapMarker = (event: Pick<StoredEvent, 'stream' | 'revision' | 'id' | 'type'>): boolean =>
  event.type === gapType && event.id === idOf(event);
