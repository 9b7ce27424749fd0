/** One at a time, in the order of asking. `acquire` resolves to the release, which may be called twice. */
export class Mutex {
  #tail: Promise<void> = Promise.resolve();

  async acquire(signal: AbortSignal): Promise<() => void> {
    const before = this.#tail;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#tail = before.then(() => promise);
    await Promise.race([before, aborted(signal)]).catch((error: unknown) => {
      resolve(); // gives up its place
      throw error;
    });
    return resolve;
  }
}

const aborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    else signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
