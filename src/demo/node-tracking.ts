import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';

const lookEveryMs = 50;
const patienceMs = 120_000;

const Health = z.object({ change_tracking: z.object({ disks: z.number(), current: z.number() }).nullable() });

/**
 * Waits until the node tracks the changes of all its disks, so that the first backup's time is the backup's alone. A node
 * that takes too long is not waited for: it does the same at the backup's beginning.
 */
export const untilChangesAreTracked = async (nodeUrl: string, signal: AbortSignal): Promise<void> => {
  const deadline = performance.now() + patienceMs;
  while (performance.now() < deadline) {
    const response = await fetch(`${nodeUrl}/api/v1/health`, { signal });
    const { change_tracking: tracking } = Health.parse(await response.json());
    if (tracking === null || (tracking.disks > 0 && tracking.current === tracking.disks)) return;
    await delay(lookEveryMs, undefined, { signal });
  }
};
