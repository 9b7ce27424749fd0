import { setTimeout as delay } from 'node:timers/promises';
import { ErrorType, isCommandError } from '@eventstore/db-client';
import { StoreUnavailable } from '#commands/ports.ts';

/** After these the outcome is unknown, and the same call with the same event ids is safe. */
const transient: ReadonlySet<string> = new Set([
  ErrorType.UNAVAILABLE,
  ErrorType.CANCELLED,
  ErrorType.TIMEOUT,
  ErrorType.DEADLINE_EXCEEDED,
  ErrorType.NOT_LEADER,
]);

/** The client hands out the bare gRPC error of its first call: CANCELLED, DEADLINE_EXCEEDED, UNAVAILABLE. */
const transientCodes: ReadonlySet<unknown> = new Set([1, 4, 14]);

export const isTransient = (error: unknown): boolean => {
  if (!(error instanceof Error)) return false;
  return isCommandError(error) ? transient.has(error.type) : 'code' in error && transientCodes.has(error.code);
};

export type RetryLimits = Readonly<{ attempts: number; firstDelayMs: number; maxDelayMs: number }>;

/** About 12 s in all: longer than a restart of the store takes, shorter than a client waits for an answer. */
export const defaultRetry: RetryLimits = { attempts: 12, firstDelayMs: 25, maxDelayMs: 2_000 };

/** Repeats while the store is away. Throws `StoreUnavailable` when it stays away, and anything else at once. */
export const withRetry = async <T>(call: () => Promise<T>, limits: RetryLimits, signal?: AbortSignal): Promise<T> => {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await call();
    } catch (error) {
      if (!isTransient(error)) throw error;
      if (attempt >= limits.attempts || signal?.aborted) {
        throw new StoreUnavailable('the event store does not answer', { cause: error });
      }
      await delay(Math.min(limits.firstDelayMs * 2 ** attempt, limits.maxDelayMs), undefined, signal ? { signal } : {});
    }
  }
};
