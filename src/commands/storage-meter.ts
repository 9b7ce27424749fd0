import { DomainError, type ErrorCode } from '#domain/errors.ts';
import type { RepositoryProbe, StorageFacts } from './repository-ports.ts';

export interface StorageMeter {
  /** Throws `repository-unusable`. */
  test(path: string, signal: AbortSignal): Promise<StorageFacts>;
  /** Throws `repository-unreachable`. */
  measure(path: string, signal: AbortSignal): Promise<StorageFacts>;
}

export type StorageMeterLimits = Readonly<{ testTimeoutMs: number; measureTimeoutMs: number }>;

const defaultLimits: StorageMeterLimits = { testTimeoutMs: 20_000, measureTimeoutMs: 5_000 };

const refusal = (code: ErrorCode, path: string, cause: unknown): DomainError =>
  new DomainError(code, cause instanceof Error ? cause.message : String(cause), { path }, { cause });

type Deadline = Readonly<{ signal: AbortSignal; clear: () => void }>;

const deadlineOf = (path: string, timeoutMs: number): Deadline => {
  const controller = new AbortController();
  const late = () => controller.abort(new Error(`${path} did not answer within ${timeoutMs / 1_000} s`));
  const timer = setTimeout(late, timeoutMs);
  return { signal: controller.signal, clear: () => clearTimeout(timer) };
};

/** A dead filesystem neither answers nor heeds a signal: whoever asks is let go, the question stays open. */
const untilAborted = async <T>(answer: Promise<T>, signal: AbortSignal): Promise<T> => {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const giveUp = () => reject(signal.reason);
  if (signal.aborted) giveUp();
  signal.addEventListener('abort', giveUp, { once: true });
  try {
    return await Promise.race([answer, aborted]);
  } finally {
    signal.removeEventListener('abort', giveUp);
  }
};

/**
 * Asks the filesystems, with a bound. A measurement that still runs is shared: dashboards ask every few seconds, and each
 * further question to a dead filesystem would hold one more thread of the program.
 */
export const createStorageMeter = (
  probe: RepositoryProbe,
  limits: StorageMeterLimits = defaultLimits,
): StorageMeter => {
  const running = new Map<string, Promise<StorageFacts>>();

  const measureOnce = (path: string): Promise<StorageFacts> => {
    const shared = running.get(path);
    if (shared !== undefined) return shared;
    const deadline = deadlineOf(path, limits.measureTimeoutMs);
    const started = probe.measure(path, deadline.signal).finally(() => {
      deadline.clear();
      running.delete(path);
    });
    running.set(path, started);
    return started;
  };

  return {
    test: async (path, signal) => {
      const deadline = deadlineOf(path, limits.testTimeoutMs);
      const limited = AbortSignal.any([signal, deadline.signal]);
      try {
        return await untilAborted(probe.test(path, limited), limited);
      } catch (cause) {
        throw refusal('repository-unusable', path, cause);
      } finally {
        deadline.clear();
      }
    },
    measure: async (path, signal) => {
      const deadline = deadlineOf(path, limits.measureTimeoutMs);
      try {
        return await untilAborted(measureOnce(path), AbortSignal.any([signal, deadline.signal]));
      } catch (cause) {
        throw refusal('repository-unreachable', path, cause);
      } finally {
        deadline.clear();
      }
    },
  };
};
