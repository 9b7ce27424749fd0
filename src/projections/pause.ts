/** Resolves after the time or with the signal. */
export const pause = (durationMs: number, signal: AbortSignal): Promise<void> => {
  if (signal.aborted) return Promise.resolve();
  const { promise, resolve } = Promise.withResolvers<void>();
  const over = (): void => resolve();
  const timer = setTimeout(over, durationMs);
  signal.addEventListener('abort', over, { once: true });
  return promise.finally(() => {
    clearTimeout(timer);
    signal.removeEventListener('abort', over);
  });
};
