import type { AllStreamSubscription, ResolvedEvent, StreamSubscription } from '@eventstore/db-client';
import { until } from './support.ts';

/** What a subscription has delivered so far: events as `stream:revision`, and `caught-up`. */
export class Followed {
  readonly log: string[] = [];
  error: Error | undefined;

  constructor(subscription: AllStreamSubscription | StreamSubscription) {
    subscription.on('data', ({ event, link }: ResolvedEvent) => {
      const read = event ?? link;
      this.log.push(`${read?.streamId}:${read?.revision}`);
    });
    subscription.on('caughtUp', () => this.log.push('caught-up'));
    subscription.on('error', (error: Error) => {
      this.error = error;
    });
  }

  get events(): string[] {
    return this.log.filter((entry) => entry !== 'caught-up');
  }

  live(): Promise<void> {
    return until(() => this.log.includes('caught-up'), 'the subscription to be live');
  }

  async has(count: number): Promise<string[]> {
    await until(() => this.events.length >= count, `${count} events`);
    return this.events;
  }

  async failure(): Promise<Error | undefined> {
    await until(() => this.error !== undefined, 'the subscription to end');
    return this.error;
  }
}
