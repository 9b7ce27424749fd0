import { isHiddenFromAll, type ScannedEvent, type StoredEvent } from '../event-reader.ts';
import type { EventStorage } from '../event-storage.ts';
import { createMatcher } from '../grpc/event-filter.ts';
import { tombstoneRevision } from '../recorded-event.ts';
import { allEvents, type GroupConfig, type GroupFilter } from './group-config.ts';

/**
 * Without an event: looked at, and not wanted. What groups store about themselves counts as nothing at all: a group that
 * got on by its own checkpoints would write them for ever.
 */
export type Looked = Readonly<{ place: number; event?: StoredEvent; isOwn?: boolean }>;

/**
 * What a group reads: one stream, by revision, or $all, by position. The log alone says what comes next; being woken only
 * says that it is worth looking.
 */
export interface LogSource {
  /** Strictly after `after`, at most `maxEvents` events. `live`: the group was at the end when it looked last. */
  look(after: number, maxEvents: number, live: boolean): Readonly<{ looked: readonly Looked[]; atEnd: boolean }>;
  /** Place of what came last so far. */
  end(): number;
  /** The place before the first. */
  readonly beginning: number;
  /** For ever: nothing can be read any more. */
  isDeleted(): boolean;
  /** Returns how to stop listening. */
  onChange(wake: () => void): () => void;
}

const createStreamSource = ({ reader, changes }: EventStorage, streamName: string): LogSource => {
  /** While catching up, metadata hides old events; a live group sees everything that happens. */
  const pageAfter = (after: number, maxEvents: number, live: boolean): readonly StoredEvent[] => {
    if (live) return reader.streamPageAfter(streamName, after);
    const { from, to } = reader.visibleRange(streamName);
    const first = Math.max(from, after + 1);
    if (first > to) return [];
    const near = reader.streamPage(streamName, { from: first, to: Math.min(to, first + maxEvents - 1) }, 'forwards');
    return near.length > 0 ? near : reader.streamPage(streamName, { from: first, to }, 'forwards');
  };
  return {
    look: (after, maxEvents, live) => {
      const page = pageAfter(after, maxEvents, live).filter(({ revision }) => revision !== tombstoneRevision);
      const looked = page.slice(0, maxEvents).map((event) => ({ place: event.revision, event }));
      const last = looked.at(-1)?.place;
      return { looked, atEnd: last === undefined || last >= reader.visibleRange(streamName).to };
    },
    end: () => reader.visibleRange(streamName).to,
    beginning: -1,
    isDeleted: () => reader.isDeleted(streamName),
    onChange: (wake) => changes.onStream(streamName, wake),
  };
};

const createFilter = (filter: GroupFilter | undefined): ((streamName: string, type: string) => boolean) => {
  if (!filter) return () => true;
  const matches = createMatcher(filter.regex, filter.prefixes);
  return filter.on === 'stream' ? (streamName) => matches(streamName) : (_streamName, type) => matches(type);
};

const toLooked = ({ record, ...event }: ScannedEvent): Looked => {
  if (record) return { place: event.position, event: { ...event, record } };
  return { place: event.position, isOwn: isHiddenFromAll(event.streamName) };
};

const createAllSource = (storage: EventStorage, filter: GroupFilter | undefined): LogSource => {
  const { reader, changes, lastPosition } = storage;
  const wanted = createFilter(filter);
  return {
    look: (after, maxEvents) => {
      let room = maxEvents;
      const whileRoom = (streamName: string, type: string) => room > 0 && wanted(streamName, type) && room-- > 0;
      const last = lastPosition();
      if (after >= last) return { looked: [], atEnd: true };
      const pageTo = (to: number) => reader.allPage({ from: after + 1, to }, 'forwards', whileRoom);
      // Positions have gaps, but few: without a filter what is wanted is near.
      const near = filter ? [] : pageTo(Math.min(last, after + maxEvents));
      const page = near.length > 0 ? near : pageTo(last);
      const looked = room > 0 ? page : page.slice(0, page.findLastIndex(({ record }) => record) + 1);
      return { looked: looked.map(toLooked), atEnd: (looked.at(-1)?.position ?? last) >= last };
    },
    end: lastPosition,
    beginning: 0,
    isDeleted: () => false,
    onChange: (wake) => changes.onAnyStream(wake),
  };
};

export const createLogSource = (
  storage: EventStorage,
  { eventSource, filter }: Pick<GroupConfig, 'eventSource' | 'filter'>,
) => (eventSource === allEvents ? createAllSource(storage, filter) : createStreamSource(storage, eventSource));
