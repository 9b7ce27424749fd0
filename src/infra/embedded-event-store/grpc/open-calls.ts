import { status } from '@grpc/grpc-js';
import { RpcError } from './rpc-error.ts';

/** The calls in progress, so that a stop can tell each client instead of cutting the connection. */
export class OpenCalls {
  readonly #ends = new Set<(error: RpcError) => void>();

  /** Returns how to take it off again. */
  add(end: (error: RpcError) => void): () => void {
    this.#ends.add(end);
    return () => this.#ends.delete(end);
  }

  /** CANCELLED makes clients reconnect, and is not what they see when they cancel themselves. */
  endAll(): void {
    const error = new RpcError(status.CANCELLED, 'The event store is stopping.');
    for (const end of [...this.#ends]) end(error);
    this.#ends.clear();
  }
}
