import { createEventStore } from '#infra/event-store/event-store.ts';
import { eventVersions, upcast } from '../event-registry.ts';
import { audited } from './audited.ts';
import { runMaintenance } from './events-maintenance.ts';
import { print } from './output.ts';

const mib = (bytes: number): string => `${(bytes / 1024 ** 2).toFixed(1)} MiB`;

/** `./sendense events scavenge`; returns the exit code. */
export const runEventsScavenge = (args: readonly string[]): Promise<number> =>
  runMaintenance('scavenge', args, async ({ store, client, source, json, show, signal }) => {
    const auditStore = createEventStore({ client, upcast, versions: eventVersions });
    return audited(auditStore, { action: 'ScavengeEvents', objectType: 'eventStore' }, async () => {
      for await (const progress of store.scavenge(signal)) {
        const { done, streamsLooked, streams, eventsRemoved, sizeBytes } = progress;
        if (!done) show(`${streamsLooked} of ${streams} streams, ${eventsRemoved} events removed`);
        else if (json) await print(`${JSON.stringify({ source, streams, eventsRemoved, sizeBytes })}\n`);
        else await print(`${source}: ${eventsRemoved} events removed, ${mib(sizeBytes)} left\n`);
      }
      return 0;
    });
  });
