import { runMaintenance } from './events-maintenance.ts';
import { print } from './output.ts';

/** `./sendense events verify`: reads and checks everything that is stored; returns the exit code, 1 when something is damaged. */
export const runEventsVerify = (args: readonly string[]): Promise<number> =>
  runMaintenance('verify', args, async ({ store, source, json, show, signal }) => {
    let found: readonly string[] = [];
    for await (const progress of store.verify(signal)) {
      const { done, eventsRead, position, lastPosition, damage } = progress;
      found = damage;
      if (!done) show(`${eventsRead} events read, position ${position} of ${lastPosition}`);
      else if (json) await print(`${JSON.stringify({ source, eventsRead, damage })}\n`);
      else await print(`${source}: ${eventsRead} events read, ${damage.length === 0 ? 'all sound' : 'damaged:'}\n`);
    }
    if (!json) for (const sentence of found) await print(`  ${sentence}\n`);
    return found.length === 0 ? 0 : 1;
  });
