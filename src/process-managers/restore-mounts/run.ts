import { load } from '#commands/handle.ts';
import type { EventFeed } from '#commands/ports.ts';
import { restoreMountTarget } from '#commands/restore-mount-target.ts';
import type { RestoreMount } from '#domain/restore-mount/restore-mount.ts';
import { idFromStream, prefixOf } from '#domain/streams.ts';
import { createLooks } from '../one-at-a-time.ts';
import { contextFor, type RestoreMountsDeps, tellMount } from './deps.ts';
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

const retryMs = { first: 250, max: 15_000 };
/** As many as there are slots: nobody waits for somebody else's disk. */
const parallelMounts = 8;
/** A program that is killed under a mount turns every read into an error: seen within this time. */
const watchEveryMs = 1_000;

const pause = (durationMs: number, signal: AbortSignal): Promise<void> => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, durationMs);
  signal.addEventListener('abort', () => resolve(), { once: true });
  return promise.finally(() => clearTimeout(timer));
};

/**
 * Keeps every mount going. An event only says "look at this mount"; what there is to do follows from its own stream, so
 * resuming after a crash is the normal path: every mount that holds a slot is looked at before the feed goes live.
 */
export const runRestoreMounts = (options: RestoreMountsOptions, signal: AbortSignal): RestoreMounts => {
  const { deps, feed, onProblem } = options;
  let running = false;
  const failures = new Map<string, number>();
  /** Mounted, as far as this process manager brought them there or found them. */
  const watched = new Map<string, RestoreMount>();

  const look = async (mountId: string, cause: string | undefined): Promise<void> => {
    const state = await settle(mountId, deps, cause, signal);
    failures.delete(mountId);
    if (state.status === 'mounted') watched.set(mountId, state);
    else watched.delete(mountId);
  };
  const lookAgain = (mountId: string, error: unknown): void => {
    if (signal.aborted) return;
    const count = failures.get(mountId) ?? 0;
    failures.set(mountId, count + 1);
    onProblem({ what: 'a step of a mount failed and is tried again', mountId, error });
    void pause(Math.min(retryMs.first * 2 ** count, retryMs.max), signal).then(() => looks.request(mountId, undefined));
  };
  const looks = createLooks(parallelMounts, look, lookAgain);

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
    await tellMount(deps, { type: 'RequestUnmount', data }, contextFor(deps.ids, mountId, undefined));
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

  const follow = async (): Promise<void> => {
    const position = await feed.head(signal);
    await takeDownStrays(deps, signal);
    await judgeAndLook(true);
    running = true;
    for await (const item of feed.subscribe(position, { streamPrefixes: [prefixOf('restoreMount')] }, signal)) {
      if (item.kind !== 'events') continue;
      for (const { stream, id, event } of item.events)
        if (event.type !== 'MountAccessed') looks.request(idFromStream(stream), id);
    }
  };

  const run = async (): Promise<void> => {
    const watching = watch();
    for (let delayMs = retryMs.first; !signal.aborted; delayMs = Math.min(delayMs * 2, retryMs.max)) {
      try {
        await follow();
      } catch (error) {
        if (signal.aborted) break;
        if (running) delayMs = retryMs.first;
        running = false;
        onProblem({ what: 'the feed of mounts broke and is opened again', error });
        await pause(delayMs, signal);
      }
    }
    running = false;
    await looks.close();
    await watching;
  };

  return {
    status: () => ({ running, openJobs: looks.open }),
    sweep: () => judgeAndLook(false),
    done: run(),
  };
};
