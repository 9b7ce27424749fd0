/**
 * Remembers that somebody knocked: `wait` returns at once if that happened since the last `wait`. So a change between
 * reading the log and going to sleep is not missed.
 */
export class WakeUp {
  #knocked = false;
  #wake: (() => void) | undefined;

  readonly knock = (): void => {
    this.#knocked = true;
    this.#wake?.();
  };

  async wait(): Promise<void> {
    if (!this.#knocked) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      await promise;
      this.#wake = undefined;
    }
    this.#knocked = false;
  }
}
