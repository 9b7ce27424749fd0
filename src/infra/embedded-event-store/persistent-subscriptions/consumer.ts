import type { StoredEvent } from '../event-reader.ts';
import type { Message } from './message.ts';
import { type Measurement, RequestStatistics } from './request-statistics.ts';

/** The way to a consumer. */
export interface ConsumerLink {
  readonly connectionName: string;
  /** Address of the other end. */
  readonly from: string;
  readonly userName: string;
  /** How many messages it takes without having answered for them. */
  readonly bufferSize: number;
  /** False while it is behind in reading what was sent. */
  isReady(): boolean;
  send(event: StoredEvent, more: Readonly<{ resolveLinks: boolean; retryCount: number }>): void;
  /** The group let go of it: nothing is sent any more. */
  drop(): void;
}

type InFlight = Readonly<{ message: Message; sentAtMs: number }>;

export type ConsumerInfo = Readonly<{
  connectionName: string;
  from: string;
  userName: string;
  availableSlots: number;
  inFlight: number;
  totalItems: number;
  itemsSinceLast: number;
  measurements: readonly Measurement[];
}>;

/** One who takes messages of a group, and what it has not answered for. */
export class Consumer {
  readonly #link: ConsumerLink;
  readonly #inFlight = new Map<string, InFlight>();
  readonly #statistics: RequestStatistics | undefined;
  #totalItems = 0;
  #lastTotalItems = 0;

  constructor(link: ConsumerLink, extraStatistics: boolean) {
    this.#link = link;
    this.#statistics = extraStatistics ? new RequestStatistics() : undefined;
  }

  get hasRoom(): boolean {
    return this.#inFlight.size < this.#link.bufferSize && this.#link.isReady();
  }

  get inFlight(): number {
    return this.#inFlight.size;
  }

  /** The buckets of what it has not answered for. */
  get busyBuckets(): ReadonlySet<number> {
    return new Set(Array.from(this.#inFlight.values(), ({ message }) => message.bucket));
  }

  take(message: Message, event: StoredEvent, resolveLinks: boolean): void {
    this.#inFlight.set(message.id, { message, sentAtMs: performance.now() });
    this.#totalItems += 1;
    this.#link.send(event, { resolveLinks, retryCount: message.retryCount });
  }

  /** It answered, or it took too long: the place is free again. */
  release(messageId: string): void {
    const sent = this.#inFlight.get(messageId);
    if (!sent) return;
    this.#inFlight.delete(messageId);
    this.#statistics?.add(performance.now() - sent.sentAtMs);
  }

  drop(): void {
    this.#link.drop();
  }

  /** Counts anew from here. */
  inspect(): ConsumerInfo {
    const itemsSinceLast = this.#totalItems - this.#lastTotalItems;
    this.#lastTotalItems = this.#totalItems;
    const { connectionName, from, userName, bufferSize } = this.#link;
    return {
      connectionName,
      from,
      userName,
      availableSlots: Math.max(0, bufferSize - this.#inFlight.size),
      inFlight: this.#inFlight.size,
      totalItems: this.#totalItems,
      itemsSinceLast,
      measurements: this.#statistics?.measurements ?? [],
    };
  }
}
