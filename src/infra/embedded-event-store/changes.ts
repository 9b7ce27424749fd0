/** Tells readers that there may be something new. A wake-up carries no data: what is new is read from the log. */
export class Changes {
  readonly #anyStream = new Set<() => void>();
  readonly #byStream = new Map<string, Set<() => void>>();

  /** Returns how to stop listening. */
  onAnyStream(wake: () => void): () => void {
    this.#anyStream.add(wake);
    return () => this.#anyStream.delete(wake);
  }

  /** Returns how to stop listening. */
  onStream(streamName: string, wake: () => void): () => void {
    const listeners = this.#byStream.get(streamName) ?? new Set();
    this.#byStream.set(streamName, listeners.add(wake));
    return () => {
      listeners.delete(wake);
      if (listeners.size === 0 && this.#byStream.get(streamName) === listeners) this.#byStream.delete(streamName);
    };
  }

  publish(streamNames: Iterable<string>): void {
    for (const wake of this.#anyStream) wake();
    for (const streamName of streamNames) {
      for (const wake of this.#byStream.get(streamName) ?? []) wake();
    }
  }
}
