import type { EventFeed, FeedItem } from '#commands/ports.ts';

/** Who follows the log; a closed list, for numbers that are counted by it. */
export type FeedReader = 'read-model' | 'process-managers' | 'clients';

export type FeedBatch = Extract<FeedItem, { kind: 'events' }>;

/** Watches the subscriptions of one reader. No call may throw. */
export interface FeedObserver {
  opened(reader: FeedReader): void;
  /** `broken`: it ended otherwise than by its reader's wish, who has to subscribe again. */
  closed(reader: FeedReader, broken: boolean): void;
  /** A batch is handed out; what is returned is called once the reader comes back for more, or never will. */
  batch(reader: FeedReader, batch: FeedBatch): (taken: boolean) => void;
}

/** The same feed, watched. What a reader does with a batch is over when it asks for the next item. */
export const observeFeed = (feed: EventFeed, reader: FeedReader, observer: FeedObserver): EventFeed => ({
  ...feed,
  async *subscribe(from, options, signal) {
    observer.opened(reader);
    let broken = true;
    try {
      for await (const item of feed.subscribe(from, options, signal)) {
        const settle = item.kind === 'events' ? observer.batch(reader, item) : undefined;
        let taken = false;
        try {
          yield item;
          taken = true;
        } finally {
          settle?.(taken || signal.aborted);
        }
      }
      broken = false;
    } finally {
      observer.closed(reader, broken && !signal.aborted);
    }
  },
});
