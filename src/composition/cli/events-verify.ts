import { createEventStoreMaintenance, MaintenanceNotOffered } from '#infra/event-store-maintenance.ts';
import { withEventLog } from './event-log-access.ts';
import { parseCommand } from './events-arguments.ts';
import { createProgressLine, interruption, print, tell } from './output.ts';
import { loadConfig, UsageError } from './usage.ts';

/** `./sendense events verify`: reads and checks everything that is stored; returns the exit code, 1 when something is damaged. */
export const runEventsVerify = async (args: readonly string[]): Promise<number> => {
  const usage = './sendense events verify [--json]';
  const { values, positionals } = parseCommand(args, { json: { type: 'boolean' } }, usage);
  if (positionals.length > 0) throw new UsageError(`usage: ${usage}`);
  const signal = interruption();
  const line = createProgressLine();
  try {
    return await withEventLog(await loadConfig(), 'read', async ({ client, source }) => {
      let found: readonly string[] = [];
      for await (const progress of createEventStoreMaintenance(client).verify(signal)) {
        const { done, eventsRead, position, lastPosition, damage } = progress;
        found = damage;
        if (!done) line.show(`${eventsRead} events read, position ${position} of ${lastPosition}`);
        else if (values.json) await print(`${JSON.stringify({ source, eventsRead, damage })}\n`);
        else await print(`${source}: ${eventsRead} events read, ${damage.length === 0 ? 'all sound' : 'damaged:'}\n`);
      }
      if (!values.json) for (const sentence of found) await print(`  ${sentence}\n`);
      return found.length === 0 ? 0 : 1;
    });
  } catch (error) {
    if (!(error instanceof MaintenanceNotOffered)) throw error;
    tell(error.message);
    return 1;
  } finally {
    line.end();
  }
};
