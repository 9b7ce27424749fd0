/** What is being read: it must have come to its end before what it reads from is closed. */
export class Running {
  readonly #under = new Set<Promise<void>>();

  async *track<T, R>(items: AsyncGenerator<T, R>): AsyncGenerator<T, R> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#under.add(promise);
    try {
      return yield* items;
    } finally {
      this.#under.delete(promise);
      resolve();
    }
  }

  /** Whoever reads has left or is about to. */
  async ended(): Promise<void> {
    await Promise.all(this.#under);
  }
}
