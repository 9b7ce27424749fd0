import type {
  PersistentAction,
  PersistentSubscriptionToAll,
  PersistentSubscriptionToStream,
  ResolvedEvent,
} from '@eventstore/db-client';
import { eventually } from '../../../support/eventually.ts';

export type Taken = ResolvedEvent & Readonly<{ retryCount: number }>;

/** What is used of a subscription, to a stream or to $all. */
export type Subscription = Readonly<{
  ack: (...events: ResolvedEvent[]) => Promise<void>;
  nack: (action: PersistentAction, reason: string, ...events: ResolvedEvent[]) => Promise<void>;
  unsubscribe: () => Promise<void>;
}>;

export type Answer = (taken: Taken, subscription: Subscription) => Promise<unknown> | undefined;

export const acknowledge: Answer = (taken, subscription) => subscription.ack(taken);
export const silence: Answer = () => undefined;

const originalOf = ({ link, event }: Taken) => link ?? event;

/** A consumer: notes what it gets, as `stream:revision`, and answers. */
export class Consuming {
  readonly taken: Taken[] = [];
  readonly subscription: Subscription;
  confirmed = false;
  error: Error | undefined;

  constructor(
    subscription: PersistentSubscriptionToAll | PersistentSubscriptionToStream,
    answer: Answer = acknowledge,
  ) {
    this.subscription = subscription;
    const events = subscription as PersistentSubscriptionToAll;
    events.on('data', (taken: Taken) => {
      this.taken.push(taken);
      answer(taken, subscription)?.catch((error: Error) => {
        this.error ??= error;
      });
    });
    events.on('confirmation', () => {
      this.confirmed = true;
    });
    events.on('error', (error: Error) => {
      this.error = error;
    });
  }

  get names(): string[] {
    return this.taken.map((taken) => `${originalOf(taken)?.streamId}:${originalOf(taken)?.revision}`);
  }

  get retries(): number[] {
    return this.taken.map(({ retryCount }) => retryCount);
  }

  /** Rejects with why it may not join, if so. */
  async joined(): Promise<void> {
    await eventually('the confirmation', () => this.confirmed || this.error);
    if (this.error) throw this.error;
  }

  async has(count: number): Promise<string[]> {
    await eventually(`${count} messages`, () => this.taken.length >= count || this.error !== undefined);
    if (this.error) throw this.error;
    return this.names;
  }

  failure(): Promise<Error> {
    return eventually('the end of the subscription', () => this.error);
  }
}

/** `stream:0` and so on. */
export const namesIn = (streamName: string, count: number, first = 0): string[] =>
  Array.from({ length: count }, (_, index) => `${streamName}:${first + index}`);
