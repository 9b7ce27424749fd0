import { ServerInterceptingCall, type ServerInterceptor } from '@grpc/grpc-js';

// What a slow reader holds in memory beyond the page that is being sent to it, and about what a socket takes in one go.
const maxBehindBytes = 128 * 1024;

const sizeOf = (message: unknown): number => (message instanceof Uint8Array ? message.length : 0);

/**
 * grpc-js hands a stream its next message when the socket has taken the one before: one small packet a message. This says
 * "taken" earlier, so that HTTP/2 joins what waits into large packets; three times the messages a second. A reader that is
 * behind still holds its writer back, and the status still comes last: both take the same queue.
 */
class WriteBehindCall extends ServerInterceptingCall {
  #behindBytes = 0;
  #waiting: (() => void) | undefined;

  override sendMessage(message: unknown, taken: () => void): void {
    const sizeBytes = sizeOf(message);
    this.#behindBytes += sizeBytes;
    super.sendMessage(message, () => {
      this.#behindBytes -= sizeBytes;
      this.#goOn();
    });
    this.#waiting = taken;
    this.#goOn();
  }

  #goOn(): void {
    if (this.#behindBytes >= maxBehindBytes) return;
    const taken = this.#waiting;
    this.#waiting = undefined;
    taken?.();
  }
}

export const writeBehind: ServerInterceptor = (_, call) => new WriteBehindCall(call);
