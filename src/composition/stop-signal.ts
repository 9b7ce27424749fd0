import { once } from 'node:events';

/** Resolves with the first SIGINT or SIGTERM. */
export const stopSignal = async (): Promise<string> => {
  const stopped = new AbortController();
  const waits = (['SIGINT', 'SIGTERM'] as const).map(async (name) => {
    await once(process, name, { signal: stopped.signal });
    return name;
  });
  const name = await Promise.race(waits);
  stopped.abort();
  await Promise.allSettled(waits);
  return name;
};
