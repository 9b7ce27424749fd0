/** How many a second, with so many under way all the time. */
export const rateOf = async (
  workers: number,
  durationMs: number,
  once: (worker: number) => Promise<unknown>,
): Promise<number> => {
  const startedAtMs = performance.now();
  const until = startedAtMs + durationMs;
  let done = 0;
  const work = async (worker: number): Promise<void> => {
    while (performance.now() < until) {
      await once(worker);
      done += 1;
    }
  };
  await Promise.all(Array.from({ length: workers }, (_, index) => work(index)));
  return (done / (performance.now() - startedAtMs)) * 1000;
};
