import { createFakeEventStore } from '../support/fake-event-store.ts';
import { eventStoreContract } from './event-store.contract.ts';

eventStoreContract('the fake event store', async () => {
  const store = createFakeEventStore();
  return { store, feed: store.feed };
});
