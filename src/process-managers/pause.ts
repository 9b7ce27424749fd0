/** Resolves after the time or with the signal. */
export const pause = (durationMs: number, signal: AbortSignal): Promise<void> => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, durationMs);
  const stop = () => resolve();
  signal.addEventListener('abort', stop, { once: true });
  return promise.finally(() => {
    clearTimeout(timer);
    signal.removeEventListener('abort', stop);
  });
};

/** Between attempts; each pause is twice as long as the one before it. */
export const retryMs = { first: 250, max: 15_000 } as const;
