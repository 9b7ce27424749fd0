import type { Direction, EventRow, EventRows, Range } from './event-rows.ts';
import { tombstoneRevision } from './recorded-event.ts';
import type { StreamHeads } from './stream-heads.ts';
import { firstVisibleRevision, isSoftDeleted, type StreamMetadata, visibleSinceMs } from './stream-metadata.ts';

export type { Direction, Range } from './event-rows.ts';

export type StoredEvent = Readonly<{
  position: number;
  revision: number;
  streamName: string;
  type: string;
  record: Uint8Array;
}>;

/** What a scan looked at: `record` is absent if the predicate did not want the event. */
export type ScannedEvent = Omit<StoredEvent, 'record'> & Readonly<{ record?: Uint8Array }>;

// What a slow reader holds in memory; `EventRows` bounds the number of events.
const maxPageBytes = 256 * 1024;

/**
 * Hidden from $all: what a persistent subscription to $all stores about itself would otherwise be read by itself.
 */
export const isHiddenFromAll = (streamName: string): boolean =>
  streamName.startsWith('$persistentsubscription-$all::') &&
  (streamName.endsWith('-checkpoint') || streamName.endsWith('-parked'));

const storedEvent =
  (streamName: string) =>
  ({ position, revision, type, record }: EventRow): StoredEvent => ({ position, revision, streamName, type, record });

/** Reads committed events in pages of bounded size. Throws `StoreDamaged` in place of what is not as it was written. */
export class EventReader {
  readonly #rows: EventRows;
  readonly #heads: StreamHeads;

  constructor(rows: EventRows, heads: StreamHeads) {
    this.#rows = rows;
    this.#heads = heads;
  }

  /** What a reader of the stream may see now; `to` is the last revision, `from` > `to` if nothing is visible. */
  visibleRange(streamName: string): Range {
    const { first, last } = this.#heads.get(streamName);
    return { from: Math.max(first, firstVisibleRevision(this.#heads.metadata(streamName), last)), to: last };
  }

  metadata(streamName: string): StreamMetadata {
    return this.#heads.metadata(streamName);
  }

  isDeleted(streamName: string): boolean {
    return this.#heads.isTombstoned(streamName);
  }

  /** Never written to, or soft-deleted. */
  isMissing(streamName: string): boolean {
    return this.#heads.get(streamName).last < 0 || isSoftDeleted(this.#heads.metadata(streamName));
  }

  /** The next visible events; none: there are no more. */
  streamPage(streamName: string, range: Range, direction: Direction): readonly StoredEvent[] {
    const sinceMs = visibleSinceMs(this.#heads.metadata(streamName), Date.now());
    for (let rest = range; ; ) {
      const page = this.#rows.ofStream(this.#heads.get(streamName), rest, direction);
      const visible = page.filter(({ createdMs }) => createdMs >= sinceMs);
      const last = page.at(-1);
      if (visible.length > 0 || !last) return visible.map(storedEvent(streamName));
      rest =
        direction === 'forwards'
          ? { from: last.revision + 1, to: rest.to }
          : { from: rest.from, to: last.revision - 1 };
    }
  }

  /** Everything after `revision`, a tombstone included, whatever the metadata hides: for subscriptions that are live. */
  streamPageAfter(streamName: string, revision: number): readonly StoredEvent[] {
    const range = { from: revision + 1, to: tombstoneRevision };
    return this.#rows.ofStream(this.#heads.get(streamName), range, 'forwards').map(storedEvent(streamName));
  }

  /** A visible event, as a link finds it. */
  streamEvent(streamName: string, revision: number): StoredEvent | undefined {
    const visible = this.visibleRange(streamName);
    if (revision < visible.from || revision > visible.to || this.isDeleted(streamName)) return undefined;
    return this.streamPage(streamName, { from: revision, to: revision }, 'forwards')[0];
  }

  /** Whatever hides it from readers; undefined once it is gone for good. */
  recordAt(position: number): Uint8Array | undefined {
    const [event] = this.#scan({ from: position, to: position }, 'forwards', () => true);
    return event?.record;
  }

  /**
   * In the order of the log, in one direction. Reads the payload only of the events that `wanted` accepts. May stop short of
   * the range's end, but only after an event: an empty page means that nothing is left.
   */
  allPage(range: Range, direction: Direction, wanted: (streamName: string, type: string) => boolean): ScannedEvent[] {
    return this.#scan(range, direction, (streamName, type) => !isHiddenFromAll(streamName) && wanted(streamName, type));
  }

  #scan(range: Range, direction: Direction, wanted: (streamName: string, type: string) => boolean): ScannedEvent[] {
    const page: ScannedEvent[] = [];
    let sizeBytes = 0;
    this.#rows.scan(range, direction, (header) => {
      const { position, revision, type } = header;
      const event = { position, revision, type, streamName: this.#heads.nameOf(header.streamId) };
      const scanned = wanted(event.streamName, type) ? { ...event, record: this.#rows.record(header) } : event;
      page.push(scanned);
      sizeBytes += 'record' in scanned ? scanned.record.length : 0;
      return sizeBytes < maxPageBytes;
    });
    return page;
  }
}
