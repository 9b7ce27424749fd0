import type { EventStoreDBClient } from '@eventstore/db-client';
import { createEventStoreMaintenance, MaintenanceNotOffered } from '#infra/event-store-maintenance.ts';
import { withEventLog } from './event-log-access.ts';
import { parseCommand } from './events-arguments.ts';
import { createProgressLine, interruption, tell } from './output.ts';
import { loadConfig, UsageError } from './usage.ts';

export type Maintenance = Readonly<{
  store: ReturnType<typeof createEventStoreMaintenance>;
  client: EventStoreDBClient;
  /** Whose log it is, for people. */
  source: string;
  /** One JSON object is wanted instead of sentences. */
  json: boolean;
  /** Replaces the line that tells how far the work is. */
  show: (text: string) => void;
  /** Aborts at Ctrl-C. */
  signal: AbortSignal;
}>;

/**
 * `./sendense events <task>`, which takes nothing but `--json`: runs the work against the store, be it the hub's or its own;
 * returns the exit code. A store that does not offer the task says so, and gives 1.
 */
export const runMaintenance = async (
  task: string,
  args: readonly string[],
  work: (maintenance: Maintenance) => Promise<number>,
): Promise<number> => {
  const usage = `./sendense events ${task} [--json]`;
  const { values, positionals } = parseCommand(args, { json: { type: 'boolean' } }, usage);
  if (positionals.length > 0) throw new UsageError(`usage: ${usage}`);
  const signal = interruption();
  const { show, end } = createProgressLine();
  try {
    return await withEventLog(await loadConfig(), 'read', async ({ client, source }) =>
      work({ store: createEventStoreMaintenance(client), client, source, json: values.json === true, show, signal }),
    );
  } catch (error) {
    if (!(error instanceof MaintenanceNotOffered)) throw error;
    tell(error.message);
    return 1;
  } finally {
    end();
  }
};
