import type { EventReader, StoredEvent } from '../event-reader.ts';
import type { EventStorage } from '../event-storage.ts';
import { tombstoneRevision } from '../recorded-event.ts';
import { createDelivery } from './link-resolver.ts';
import type { AuthorisedRead, ReadFrom } from './read-request.ts';
import { caughtUpResponse, eventResponse } from './read-response.ts';
import type { ResponseStream } from './response-stream.ts';
import { streamDeleted } from './rpc-error.ts';
import { nextTurn } from './turn.ts';
import type { WakeUp } from './wake-up.ts';

/** The last revision the subscriber does not want. */
const startAfter = (reader: EventReader, streamName: string, from: ReadFrom): number => {
  if (from === 'start') return -1;
  if (from === 'end') return reader.visibleRange(streamName).to;
  return Math.min(from, tombstoneRevision - 1); // whatever was asked for, a tombstone comes after it
};

/** While catching up, metadata hides old events; a live subscriber sees everything that happens. */
const nextPage = (reader: EventReader, streamName: string, after: number, live: boolean): readonly StoredEvent[] => {
  if (live) return reader.streamPageAfter(streamName, after);
  const { from, to } = reader.visibleRange(streamName);
  const next = Math.max(from, after + 1);
  if (reader.isDeleted(streamName)) return reader.streamPageAfter(streamName, next - 1);
  return reader.streamPage(streamName, { from: next, to }, 'forwards');
};

/**
 * Follows one stream, existing or not. The log alone says what comes next; a knock only says that it is worth looking.
 * Ends, by throwing, with the call or when the stream is tombstoned.
 */
export const followStream = async (
  { reader }: EventStorage,
  request: AuthorisedRead & Readonly<{ target: { kind: 'stream'; streamName: string } }>,
  out: ResponseStream,
  wakeUp: WakeUp,
): Promise<never> => {
  const { streamName } = request.target;
  const toDelivery = createDelivery(reader, request);
  let after = startAfter(reader, streamName, request.from);
  let live = false;
  for (;;) {
    out.throwIfEnded();
    const page = nextPage(reader, streamName, after, live);
    for (const event of page) {
      await out.send(eventResponse(toDelivery(event)));
      after = event.revision;
    }
    if (after === tombstoneRevision) throw streamDeleted(streamName);
    if (page.length > 0) {
      await nextTurn();
      continue;
    }
    if (!live) await out.send(caughtUpResponse());
    live = true;
    await wakeUp.wait();
  }
};
