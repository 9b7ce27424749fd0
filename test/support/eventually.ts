import { setTimeout as delay } from 'node:timers/promises';

const lookEveryMs = 40;

/**
 * Looks until there is something and returns it; `undefined`, `null` and `false` mean not yet. At the deadline it fails
 * with what was waited for and, if a look threw, why.
 */
export const eventually = async <T>(
  what: string,
  look: () => T | Promise<T>,
  timeoutMs = 30_000,
): Promise<Exclude<T, undefined | null | false>> => {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    let problem: unknown;
    try {
      const found = await look();
      if (found !== undefined && found !== null && found !== false)
        return found as Exclude<T, undefined | null | false>;
    } catch (error) {
      problem = error;
    }
    if (performance.now() > deadline)
      throw new Error(`not within ${timeoutMs} ms: ${what}`, problem === undefined ? {} : { cause: problem });
    await delay(lookEveryMs);
  }
};
