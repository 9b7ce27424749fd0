import type { EventStorage } from '../event-storage.ts';
import { createDelivery } from './link-resolver.ts';
import type { AuthorisedRead, ReadFrom } from './read-request.ts';
import { caughtUpResponse, checkpointResponse, eventResponse } from './read-response.ts';
import type { ResponseStream } from './response-stream.ts';
import { nextTurn } from './turn.ts';
import type { WakeUp } from './wake-up.ts';

/**
 * Tells the reader of a filtered log how far it was searched, matches or not, so that it need not search it again. Never
 * the same position twice.
 */
class Checkpoints {
  readonly #out: ResponseStream;
  readonly #every: number;
  #looked = 0;
  #last: number | undefined;

  constructor(out: ResponseStream, every: number) {
    this.#out = out;
    this.#every = every;
  }

  async lookedAt(position: number): Promise<void> {
    this.#looked += 1;
    if (this.#looked < this.#every) return;
    this.#looked = 0;
    await this.send(position);
  }

  async send(position: number): Promise<void> {
    if (this.#last !== undefined && position <= this.#last) return;
    this.#last = position;
    await this.#out.send(checkpointResponse(position));
  }
}

/** The last position the subscriber does not want. */
const startAfter = (storage: EventStorage, from: ReadFrom): number => {
  if (from === 'start') return 0;
  return from === 'end' ? storage.lastPosition() : from;
};

const everything = () => true;

/** Follows the log: see `followStream`. Ends only by throwing, with the call. */
export const followAll = async (
  storage: EventStorage,
  request: AuthorisedRead,
  out: ResponseStream,
  wakeUp: WakeUp,
): Promise<never> => {
  const { filter } = request;
  const toDelivery = createDelivery(storage.reader, request);
  const checkpoints = filter && new Checkpoints(out, filter.checkpointEvery);
  let after = startAfter(storage, request.from);
  let live = false;
  for (;;) {
    out.throwIfEnded();
    const range = { from: after + 1, to: storage.lastPosition() };
    const page = storage.reader.allPage(range, 'forwards', filter?.matches ?? everything);
    for (const { record, ...scanned } of page) {
      if (record) await out.send(eventResponse(toDelivery({ ...scanned, record })));
      after = scanned.position;
      await checkpoints?.lookedAt(after);
    }
    if (page.length > 0) {
      await nextTurn();
      continue;
    }
    if (!live) {
      await checkpoints?.send(after);
      await out.send(caughtUpResponse());
    }
    live = true;
    await wakeUp.wait();
  }
};
