import type { AllStreamSubscription, ResolvedEvent, StreamSubscription } from '@eventstore/db-client';
import { eventually } from '../../../support/eventually.ts';

type Failure = Error & Readonly<{ type?: string }>;

/** What a subscription has delivered so far: events as `revision@stream`, and `caught-up`. */
export class Followed {
  readonly log: string[] = [];
  readonly subscription: AllStreamSubscription | StreamSubscription;
  #failure: Failure | undefined;

  constructor(subscription: AllStreamSubscription | StreamSubscription) {
    this.subscription = subscription;
    subscription.on('data', ({ event, link }: ResolvedEvent) => {
      const read = event ?? link;
      this.log.push(`${read?.revision}@${read?.streamId}`);
    });
    subscription.on('caughtUp', () => this.log.push('caught-up'));
    subscription.on('error', (error: Failure) => {
      this.#failure = error;
    });
  }

  get events(): string[] {
    return this.log.filter((entry) => entry !== 'caught-up');
  }

  /** Rejects with why it failed, if it does. */
  async live(): Promise<void> {
    await eventually('the subscription to be live', () => this.log.includes('caught-up') || this.#failure);
    if (this.#failure) throw this.#failure;
  }

  async has(count: number): Promise<string[]> {
    await eventually(`${count} events`, () => this.events.length >= count);
    return this.events;
  }

  failure(): Promise<Failure> {
    return eventually('the subscription to fail', () => this.#failure);
  }

  async stop(): Promise<void> {
    await this.subscription.unsubscribe();
  }
}
