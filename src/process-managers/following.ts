import { pause, retryMs } from './pause.ts';

export type Following = Readonly<{
  /** Everything that was open was looked at, and what happens now comes by. */
  isLive: () => boolean;
  /** Ends with the signal. */
  done: Promise<void>;
}>;

/**
 * Follows a feed until the signal ends it. When the feed breaks it is opened again, each time after a longer pause.
 * `follow` calls `live` once it has looked at everything that was open before.
 */
export const keepFollowing = (
  follow: (live: () => void) => Promise<void>,
  onBroken: (error: unknown) => void,
  signal: AbortSignal,
): Following => {
  let isLive = false;
  const live = (): void => {
    isLive = true;
  };
  const run = async (): Promise<void> => {
    for (let delayMs: number = retryMs.first; !signal.aborted; delayMs = Math.min(delayMs * 2, retryMs.max)) {
      try {
        await follow(live);
      } catch (error) {
        if (signal.aborted) break;
        if (isLive) delayMs = retryMs.first;
        isLive = false;
        onBroken(error);
        await pause(delayMs, signal);
      }
    }
    isLive = false;
  };
  return { isLive: () => isLive, done: run() };
};
