import { setTimeout as delay } from 'node:timers/promises';

/** Short beside the 10 ms that qemu-nbd takes to listen or to end; a look costs some microseconds. */
const lookEveryMs = 2;

/** Looks until the condition holds (true) or time is up (false); throws the signal's reason when that aborts. */
export const waitFor = async (
  condition: () => boolean | Promise<boolean>,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<boolean> => {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    if (await condition()) return true;
    if (performance.now() > deadline) return false;
    await delay(lookEveryMs);
    signal.throwIfAborted();
  }
};
