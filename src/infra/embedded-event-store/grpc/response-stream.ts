import { once } from 'node:events';
import type { Writable } from 'node:stream';

/** The client went away, or the server stops: whoever was sending has nothing left to do. */
export class StreamEnded extends Error {
  override readonly name = 'StreamEnded';
}

/** Sends to one reader, no faster than it reads. */
export class ResponseStream {
  readonly #call: Writable;
  readonly #signal: AbortSignal;

  constructor(call: Writable, signal: AbortSignal) {
    this.#call = call;
    this.#signal = signal;
  }

  /** Waits while the reader is behind. Throws `StreamEnded`. */
  async send(response: Uint8Array): Promise<void> {
    this.throwIfEnded();
    if (this.#call.write(response)) return;
    try {
      await once(this.#call, 'drain', { signal: this.#signal }); // never comes once the call is cancelled
    } catch (error) {
      throw this.#signal.aborted ? new StreamEnded() : error;
    }
  }

  throwIfEnded(): void {
    if (this.#signal.aborted) throw new StreamEnded();
  }
}
