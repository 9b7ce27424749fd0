import { sql } from 'kysely';
import type { Clock } from '#commands/ports.ts';
import type { HealthSource } from '#http/routes/health.ts';
import type { Config } from '#infra/config.ts';
import type { LiveReadModel } from './read-model.ts';
import { projections } from './read-model.ts';
import type { Stores } from './stores.ts';

type Deps = Readonly<{
  stores: Stores;
  readModel: LiveReadModel;
  config: Pick<Config, 'eventStore' | 'database'>;
  clock: Clock;
  processManagers: () => readonly Readonly<{ name: string; running: boolean; openJobs: number }>[];
  audit: () => Readonly<{ waiting: number; problem: string | null }>;
}>;

const isUp = (answer: Promise<unknown>): Promise<boolean> =>
  answer.then(
    () => true,
    () => false,
  );

/** How far the tables are behind the log; events in between, and the age of the newest one that is in. */
const lagOf = ({ readModel, clock }: Deps, head: bigint | undefined) => {
  const { position, appliedEventAt } = readModel.runner.status();
  const behind = head === undefined || head <= position ? 0 : Number(head - position);
  const age = appliedEventAt === null ? 0 : (Date.parse(clock.now()) - Date.parse(appliedEventAt)) / 1000;
  return { lagEvents: behind, lagSeconds: behind === 0 ? 0 : Math.max(0, age) };
};

export const createHealth = (deps: Deps): HealthSource => ({
  report: async (signal) => {
    const { stores, readModel, config } = deps;
    const head = stores.feed.head(signal);
    const [eventStoreUp, databaseUp] = await Promise.all([
      isUp(head),
      isUp(sql`select 1`.execute(stores.database.readModel)),
    ]);
    const lag = lagOf(deps, eventStoreUp ? await head : undefined);
    const running = readModel.runner.status().problem === null;
    const parked = databaseUp ? await readModel.parked.counts() : new Map<string, number>();
    return {
      eventStore: { connected: eventStoreUp, kind: config.eventStore.kind },
      database: { connected: databaseUp, kind: config.database.kind },
      projections: projections.map(({ name }) => ({ name, running, ...lag, parkedStreams: parked.get(name) ?? 0 })),
      processManagers: deps.processManagers(),
      audit: deps.audit(),
    };
  },
});
