import type { Message } from './message.ts';

/** `later`: whoever it is for has no room now, others may have; `no-room`: nobody has. */
export type Offered = 'taken' | 'later' | 'no-room';

/** What waits to be sent: what is to be sent again before what is new. */
export class Backlog {
  #retries: Message[] = [];
  #fresh: Message[] = [];

  get retryCount(): number {
    return this.#retries.length;
  }

  get freshCount(): number {
    return this.#fresh.length;
  }

  addFresh(message: Message): void {
    this.#fresh.push(message);
  }

  /** Into the order in which the group read them; what was parked goes behind. */
  addRetry(message: Message): void {
    const { sequence } = message;
    const behind = sequence === undefined ? -1 : this.#retries.findIndex((other) => (other.sequence ?? -1) > sequence);
    if (behind === -1) this.#retries.push(message);
    else this.#retries.splice(behind, 0, message);
  }

  /** Returns whether there was room for all. */
  offerRetries(offer: (message: Message) => Offered): boolean {
    const [rest, hadRoom] = offerInOrder(this.#retries, offer);
    this.#retries = rest;
    return hadRoom;
  }

  offerFresh(offer: (message: Message) => Offered): void {
    [this.#fresh] = offerInOrder(this.#fresh, offer);
  }
}

const offerInOrder = (messages: Message[], offer: (message: Message) => Offered): [rest: Message[], room: boolean] => {
  const rest: Message[] = [];
  for (const [index, message] of messages.entries()) {
    const offered = offer(message);
    if (offered === 'no-room') return [[...rest, ...messages.slice(index)], false];
    if (offered === 'later') rest.push(message);
  }
  return [rest, true];
};
