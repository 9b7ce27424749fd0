import type { Consumer } from './consumer.ts';
import type { Message } from './message.ts';

/** Without a consumer: nobody has it, but it waits for its time. */
type Out = Readonly<{ message: Message; consumer: Consumer | undefined; lateAtMs: number }>;

/** What was sent and not answered for. */
export class OutMessages {
  readonly #out = new Map<string, Out>();

  get count(): number {
    return this.#out.size;
  }

  has(id: string): boolean {
    return this.#out.has(id);
  }

  add(message: Message, consumer: Consumer | undefined, timeoutMs: number): void {
    this.#out.set(message.id, { message, consumer, lateAtMs: performance.now() + timeoutMs });
  }

  /** Nobody is waited for any more. */
  take(id: string): Message | undefined {
    const out = this.#out.get(id);
    if (!out) return undefined;
    this.#out.delete(id);
    out.consumer?.release(id);
    return out.message;
  }

  takeLate(nowMs: number): readonly Message[] {
    return this.#takeAll(({ lateAtMs }) => lateAtMs <= nowMs);
  }

  takeFrom(consumer: Consumer): readonly Message[] {
    return this.#takeAll((out) => out.consumer === consumer);
  }

  #takeAll(wanted: (out: Out) => boolean): readonly Message[] {
    const ids = Array.from(this.#out).flatMap(([id, out]) => (wanted(out) ? [id] : []));
    return ids.flatMap((id) => this.take(id) ?? []);
  }
}
