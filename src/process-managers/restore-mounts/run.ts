import { load } from '#commands/handle.ts';
import type { EventFeed } from '#commands/ports.ts';
import { restoreMountTarget } from '#commands/restore-mount-target.ts';
import type { RestoreMount } from '#domain/restore-mount/restore-mount.ts';
import { idFromStream, prefixOf } from '#domain/streams.ts';
import { keepFollowing } from '../following.ts';
import { pause } from '../pause.ts';
import { createRetriedLooks } from '../retried-looks.ts';
import { contextOfLook, type RestoreMountsDeps, tellMount } from './deps.ts';
import { settle } from './perform.ts';
import { judgeMounts, lossOf, takeDownStrays } from './sweep.ts';

export type RestoreMountsOptions = Readonly<{
  deps: RestoreMountsDeps;
  feed: EventFeed;
  onProblem: (problem: Readonly<{ what: string; mountId?: string; error: unknown }>) => void;
  /** Told each time that all mounts were judged. */
  onSwept: () => void;
}>;

export interface RestoreMounts {
  status(): Readonly<{ running: boolean; openJobs: number }>;
  /** Ends what is idle, lost, or of a backup that is gone; repeated by the caller. */
  sweep(): Promise<void>;
  /** Ends when the signal has aborted and no step is under way. What is mounted stays, for the next hub. */
  readonly done: Promise<void>;
}

/** As many as there are slots: nobody waits for somebody else's disk. */
const parallelMounts = 8;
/** A program that is killed under a mount turns every read into an error: seen within this time. */
const watchEveryMs = 1_000;

/**
 * Keeps every mount going. An event only says "look at this mount"; what there is to do follows from its own stream, so
 * resuming after a crash is the normal path: every mount that holds a slot is looked at before the feed goes live.
 */
export const runRestoreMounts = (options: RestoreMountsOptions, signal: AbortSignal): RestoreMounts => {
  const { deps, feed, onProblem } = options;
  /** Mounted, as far as this process manager brought them there or found them. */
  const watched = new Map<string, RestoreMount>();

  const look = async (mountId: string, cause: string | undefined): Promise<void> => {
    const state = await settle(mountId, deps, cause, signal);
    if (state.status === 'mounted') watched.set(mountId, state);
    else watched.delete(mountId);
  };
  const onFailed = (mountId: string, error: unknown): void =>
    onProblem({ what: 'a step of a mount failed and is tried again', mountId, error });
  const looks = createRetriedLooks({ limit: parallelMounts, look, onFailed }, signal);

  const judgeAndLook = async (retryFailed: boolean): Promise<void> => {
    for (const mountId of await judgeMounts(deps, retryFailed)) looks.request(mountId, undefined);
    options.onSwept();
  };

  /** The mount may be on its way down already: the log has the last word. */
  const endIfLost = async (mount: RestoreMount): Promise<void> => {
    const { mountId } = mount;
    const loss = await lossOf(mount, deps);
    if (!loss) return;
    const target = restoreMountTarget(mountId);
    const { state } = await load(deps.store, target.decider, target.stream);
    if (state.status !== 'mounted') return;
    const data = { mountId, ...loss, at: deps.clock.now() };
    await tellMount(deps, { type: 'RequestUnmount', data }, await contextOfLook(deps, mountId));
  };

  const watch = async (): Promise<void> => {
    while (!signal.aborted) {
      await pause(watchEveryMs, signal);
      for (const mount of signal.aborted ? [] : watched.values()) {
        await endIfLost(mount).catch((error: unknown) =>
          onProblem({ what: 'a mount could not be looked at', mountId: mount.mountId, error }),
        );
      }
    }
  };

  const follow = async (live: () => void): Promise<void> => {
    const position = await feed.head(signal);
    await takeDownStrays(deps, signal);
    await judgeAndLook(true);
    live();
    for await (const item of feed.subscribe(position, { streamPrefixes: [prefixOf('restoreMount')] }, signal)) {
      if (item.kind !== 'events') continue;
      for (const { stream, id, event } of item.events)
        if (event.type !== 'MountAccessed') looks.request(idFromStream(stream), id);
    }
  };

  const onBroken = (error: unknown): void => onProblem({ what: 'the feed of mounts broke and is opened again', error });
  const watching = watch();
  const following = keepFollowing(follow, onBroken, signal);
  const end = async (): Promise<void> => {
    await following.done;
    await looks.close();
    await watching;
  };

  return {
    status: () => ({ running: following.isLive(), openJobs: looks.open }),
    sweep: () => judgeAndLook(false),
    done: end(),
  };
};
