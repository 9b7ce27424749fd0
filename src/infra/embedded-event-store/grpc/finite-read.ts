import type { Direction, EventReader, Range, StoredEvent } from '../event-reader.ts';
import type { EventStorage } from '../event-storage.ts';
import { createDelivery } from './link-resolver.ts';
import type { AuthorisedRead, ReadFrom } from './read-request.ts';
import { eventResponse, streamNotFoundResponse } from './read-response.ts';
import type { ResponseStream } from './response-stream.ts';
import { streamDeleted } from './rpc-error.ts';
import { nextTurn } from './turn.ts';

/** The next part of the range, or nothing: both ends inclusive. */
type ReadPage = (range: Range) => readonly Readonly<{ at: number; event?: StoredEvent }>[];

const rest = ({ from, to }: Range, lastRead: number, direction: Direction): Range =>
  direction === 'forwards' ? { from: lastRead + 1, to } : { from, to: lastRead - 1 };

const deliver = async (
  storage: EventStorage,
  request: AuthorisedRead,
  out: ResponseStream,
  { range, readPage }: Readonly<{ range: Range; readPage: ReadPage }>,
): Promise<void> => {
  const toDelivery = createDelivery(storage.reader, request);
  let remaining = range;
  let count = request.maxCount;
  while (count > 0 && remaining.from <= remaining.to) {
    const page = readPage(remaining);
    for (const { event } of page) {
      if (!event) continue;
      await out.send(eventResponse(toDelivery(event)));
      count -= 1;
      if (count === 0) return;
    }
    const last = page.at(-1);
    if (!last) return;
    remaining = rest(remaining, last.at, request.direction);
    await nextTurn();
    out.throwIfEnded();
  }
};

/** Forwards from `end` there is nothing; backwards from `start` only the first event. */
const streamRange = (visible: Range, from: ReadFrom, direction: Direction): Range => {
  const { from: first, to: last } = visible;
  if (direction === 'backwards') return { from: first, to: from === 'end' ? last : Math.min(last, toRevision(from)) };
  return from === 'end' ? { from: last + 1, to: last } : { from: Math.max(first, toRevision(from)), to: last };
};

const toRevision = (from: Exclude<ReadFrom, 'end'>): number => (from === 'start' ? 0 : from);

/** Forwards a position is inclusive; backwards it is exclusive, so that the end can be named before it exists. */
const allRange = (last: number, from: ReadFrom, direction: Direction): Range => {
  if (direction === 'forwards') {
    return from === 'end' ? { from: last + 1, to: last } : { from: from === 'start' ? 1 : from, to: last };
  }
  if (from === 'start') return { from: 1, to: 0 };
  return { from: 1, to: from === 'end' ? last : Math.min(last, from - 1) };
};

const streamPages = (reader: EventReader, streamName: string, direction: Direction): ReadPage => {
  return (range) => {
    if (reader.isDeleted(streamName)) throw streamDeleted(streamName);
    return reader.streamPage(streamName, range, direction).map((event) => ({ at: event.revision, event }));
  };
};

/** Reads what is there now, up to the asked-for count, and ends. What is appended meanwhile is not waited for. */
export const readFinite = async (
  storage: EventStorage,
  request: AuthorisedRead,
  out: ResponseStream,
): Promise<void> => {
  const { reader } = storage;
  const { target, direction, from, filter } = request;
  if (target.kind === 'all') {
    const wanted = filter?.matches ?? (() => true);
    const readPage: ReadPage = (range) =>
      reader.allPage(range, direction, wanted).map(({ record, ...scanned }) => ({
        at: scanned.position,
        ...(record && { event: { ...scanned, record } }),
      }));
    return deliver(storage, request, out, { range: allRange(storage.lastPosition(), from, direction), readPage });
  }
  const { streamName } = target;
  if (reader.isDeleted(streamName)) throw streamDeleted(streamName);
  if (reader.isMissing(streamName)) return out.send(streamNotFoundResponse(streamName));
  const range = streamRange(reader.visibleRange(streamName), from, direction);
  return deliver(storage, request, out, { range, readPage: streamPages(reader, streamName, direction) });
};
