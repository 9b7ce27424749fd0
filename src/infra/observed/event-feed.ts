import type { EventFeed } from '#commands/ports.ts';

/** Who follows the log; a closed list, for numbers that are counted by it. */
export type FeedReader = 'read-model' | 'process-managers' | 'clients';

/** Watches the subscriptions of one reader. No call may throw. */
export interface FeedObserver {
  opened(reader: FeedReader): void;
  /** `broken`: it ended otherwise than by its reader's wish, who has to subscribe again. */
  closed(reader: FeedReader, broken: boolean): void;
}

/** The same feed, watched. */
export const observeFeed = (feed: EventFeed, reader: FeedReader, observer: FeedObserver): EventFeed => ({
  ...feed,
  async *subscribe(from, options, signal) {
    observer.opened(reader);
    let broken = true;
    try {
      yield* feed.subscribe(from, options, signal);
      broken = false;
    } finally {
      observer.closed(reader, broken && !signal.aborted);
    }
  },
});
