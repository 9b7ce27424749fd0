import { createLooks, type Looks } from './one-at-a-time.ts';
import { pause, retryMs } from './pause.ts';

export type RetriedLooks = Readonly<{
  /** Different keys are looked at side by side up to this. */
  limit: number;
  look: (key: string, cause: string | undefined) => Promise<void>;
  /** Told of each look that failed; it comes again. */
  onFailed: (key: string, error: unknown) => void;
}>;

/** Looks that come again, each time after a longer pause, until one has gone well. */
export const createRetriedLooks = ({ limit, look, onFailed }: RetriedLooks, signal: AbortSignal): Looks => {
  const failures = new Map<string, number>();
  const lookAndForget = async (key: string, cause: string | undefined): Promise<void> => {
    await look(key, cause);
    failures.delete(key);
  };
  const lookAgain = (key: string, error: unknown): void => {
    if (signal.aborted) return;
    const count = failures.get(key) ?? 0;
    failures.set(key, count + 1);
    onFailed(key, error);
    void pause(Math.min(retryMs.first * 2 ** count, retryMs.max), signal).then(() => looks.request(key, undefined));
  };
  const looks = createLooks(limit, lookAndForget, lookAgain);
  return looks;
};
