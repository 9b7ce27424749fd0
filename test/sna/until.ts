import { setTimeout as delay } from 'node:timers/promises';

const lookEveryMs = 10;

/** Waits for a condition to hold, looking at it; fails at the deadline instead of hanging. */
export const until = async <T>(look: () => T | Promise<T>, timeoutMs = 15_000): Promise<NonNullable<T>> => {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const found = await look();
    if (found !== undefined && found !== null && found !== false) return found;
    if (performance.now() > deadline) throw new Error(`did not happen within ${timeoutMs} ms: ${look.toString()}`);
    await delay(lookEveryMs);
  }
};
