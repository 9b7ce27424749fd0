import type { EventFeed } from '#commands/ports.ts';
import { idFromStream, prefixOf } from '#domain/streams.ts';
import { keepFollowing } from '../following.ts';
import { createRetriedLooks } from '../retried-looks.ts';
import { type DiskRestoresDeps, settle } from './perform.ts';
import { createSlots } from './slots.ts';

export type DiskRestoresOptions = Readonly<{
  deps: DiskRestoresDeps;
  feed: EventFeed;
  /** Restores that have not ended, as of at least `position`. */
  openRestores: (position: bigint) => Promise<readonly string[]>;
  /** Disks written back side by side; the others wait. */
  parallelRestores: number;
  onProblem: (problem: Readonly<{ what: string; restoreId?: string; error: unknown }>) => void;
}>;

export interface DiskRestores {
  status(): Readonly<{ running: boolean; openJobs: number }>;
  /** Ends when the signal has aborted and no copy is under way; what was not ended begins anew with the next hub. */
  readonly done: Promise<void>;
}

/** One that waits for its turn is looked at as well: it may be cancelled. */
const maxLooks = 1_000;

/**
 * Keeps every restore of a disk going. An event only says "look at this restore": what there is to do follows from its own
 * stream, and all that are open are looked at before the feed goes live. One copy is one look, so the wish to end it is
 * taken from the feed beside the look.
 */
export const runDiskRestores = (options: DiskRestoresOptions, signal: AbortSignal): DiskRestores => {
  const { deps, feed, onProblem } = options;
  const cancels = new Map<string, AbortController>();
  const places = new Map<string, string>();
  const slots = createSlots(options.parallelRestores);

  const look = async (restoreId: string, cause: string | undefined): Promise<void> => {
    // Before the stream is read: whoever asks for the end from here on finds it, or is read.
    const cancel = new AbortController();
    cancels.set(restoreId, cancel);
    try {
      await settle(restoreId, { deps, cause, places, slots, stopping: signal, cancelled: cancel.signal });
    } finally {
      cancels.delete(restoreId);
    }
  };
  const onFailed = (restoreId: string, error: unknown): void =>
    onProblem({ what: 'a step of a disk restore failed and is tried again', restoreId, error });
  const looks = createRetriedLooks({ limit: maxLooks, look, onFailed }, signal);

  const follow = async (live: () => void): Promise<void> => {
    const position = await feed.head(signal);
    for (const restoreId of await options.openRestores(position)) looks.request(restoreId, undefined);
    live();
    for await (const item of feed.subscribe(position, { streamPrefixes: [prefixOf('diskRestore')] }, signal)) {
      if (item.kind !== 'events') continue;
      for (const { stream, id, event } of item.events) {
        const restoreId = idFromStream(stream);
        if (event.type === 'DiskRestoreCancelRequested') cancels.get(restoreId)?.abort(new Error('cancelled'));
        if (event.type === 'DiskRestoreRequested' || event.type === 'DiskRestoreCancelRequested')
          looks.request(restoreId, id);
      }
    }
  };

  const onBroken = (error: unknown): void =>
    onProblem({ what: 'the feed of disk restores broke and is opened again', error });
  const following = keepFollowing(follow, onBroken, signal);
  return {
    status: () => ({ running: following.isLive(), openJobs: looks.open }),
    done: following.done.then(() => looks.close()),
  };
};
