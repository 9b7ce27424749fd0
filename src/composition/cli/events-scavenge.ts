import { createEventStore } from '#infra/event-store/event-store.ts';
import { createEventStoreMaintenance, MaintenanceNotOffered } from '#infra/event-store-maintenance.ts';
import { eventVersions, upcast } from '../event-registry.ts';
import { audited } from './audited.ts';
import { withEventLog } from './event-log-access.ts';
import { parseCommand } from './events-arguments.ts';
import { createProgressLine, interruption, print, tell } from './output.ts';
import { loadConfig, UsageError } from './usage.ts';

const mib = (bytes: number): string => `${(bytes / 1024 ** 2).toFixed(1)} MiB`;

/** `./sendense events scavenge`; returns the exit code. */
export const runEventsScavenge = async (args: readonly string[]): Promise<number> => {
  const usage = './sendense events scavenge [--json]';
  const { values, positionals } = parseCommand(args, { json: { type: 'boolean' } }, usage);
  if (positionals.length > 0) throw new UsageError(`usage: ${usage}`);
  const signal = interruption();
  const line = createProgressLine();
  try {
    return await withEventLog(await loadConfig(), 'read', async ({ client, source }) => {
      const store = createEventStore({ client, upcast, versions: eventVersions });
      const command = { action: 'ScavengeEvents', objectType: 'eventStore' };
      return audited(store, command, async () => {
        for await (const progress of createEventStoreMaintenance(client).scavenge(signal)) {
          const { done, streamsLooked, streams, eventsRemoved, sizeBytes } = progress;
          if (!done) line.show(`${streamsLooked} of ${streams} streams, ${eventsRemoved} events removed`);
          else if (values.json) await print(`${JSON.stringify({ source, streams, eventsRemoved, sizeBytes })}\n`);
          else await print(`${source}: ${eventsRemoved} events removed, ${mib(sizeBytes)} left\n`);
        }
        return 0;
      });
    });
  } catch (error) {
    if (!(error instanceof MaintenanceNotOffered)) throw error;
    tell(error.message);
    return 1;
  } finally {
    line.end();
  }
};
