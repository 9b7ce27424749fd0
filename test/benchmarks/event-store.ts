import { join } from 'node:path';
import { execa } from 'execa';
import type { Benchmark } from './benchmark.ts';
import type { Outcome } from './figures.ts';

const program = join(import.meta.dirname, 'event-store-program.ts');

/**
 * Measured by a program of its own, as a client's is, with Node's own settings: the small nursery that keeps the hub's memory
 * low costs the client half as much time again for an append. The stores have theirs from who starts them.
 */
export const eventStore: Benchmark = {
  name: 'event-store',
  run: async ({ folder, quick, say, signal }) => {
    const measuring = execa(process.execPath, [program, folder, ...(quick ? ['--quick'] : [])], {
      ...{ stdin: 'ignore', cancelSignal: signal, forceKillAfterDelay: 10_000, env: { NODE_OPTIONS: '' } },
    });
    for await (const line of measuring.iterable({ from: 'stderr' })) say(line);
    const { stdout } = await measuring;
    return JSON.parse(stdout) as Outcome;
  },
};
