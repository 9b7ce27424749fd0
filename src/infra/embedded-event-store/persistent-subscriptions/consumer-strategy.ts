import type { Consumer } from './consumer.ts';
import type { Message } from './message.ts';
import { Pinned } from './pinned.ts';

/** Who gets a message; `later`: the one it is for has no room; `no-room`: nobody has. */
export interface ConsumerStrategy {
  readonly consumers: Iterable<Consumer>;
  add(consumer: Consumer): void;
  remove(consumer: Consumer): void;
  choose(message: Message): Consumer | 'later' | 'no-room';
}

/** Takes the first with room. `turns`: whoever got one goes to the end of the line. */
class Line implements ConsumerStrategy {
  readonly consumers: Consumer[] = [];
  readonly #takesTurns: boolean;

  constructor(takesTurns: boolean) {
    this.#takesTurns = takesTurns;
  }

  add(consumer: Consumer): void {
    this.consumers.push(consumer);
  }

  remove(consumer: Consumer): void {
    const index = this.consumers.indexOf(consumer);
    if (index !== -1) this.consumers.splice(index, 1);
  }

  choose(): Consumer | 'no-room' {
    const index = this.consumers.findIndex((consumer) => consumer.hasRoom);
    const chosen = this.consumers[index];
    if (!chosen) return 'no-room';
    this.consumers.push(...this.consumers.splice(0, this.#takesTurns ? index + 1 : index));
    return chosen;
  }
}

export const createStrategy = (name: string): ConsumerStrategy => {
  if (name === 'RoundRobin') return new Line(true);
  if (name === 'DispatchToSingle') return new Line(false);
  return new Pinned();
};
