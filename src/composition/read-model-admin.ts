import { createRetryParkedStream, createSkipPoisonEvent } from '#commands/parked-streams.ts';
import type { Endpoint } from '#http/route.ts';
import { readModelEndpoints } from '#http/routes/projections.ts';
import { type LiveReadModel, projections } from './read-model.ts';
import { clock } from './services.ts';
import type { Stores } from './stores.ts';

type Deps = Readonly<{ stores: Pick<Stores, 'store' | 'feed'>; readModel: LiveReadModel }>;

/** What administrators ask of the read models and do to them. */
export const readModelAdmin = ({ stores, readModel }: Deps): readonly Endpoint[] => {
  const { runner, rebuilds, parked, settled } = readModel;
  const deps = { store: stores.store, clock, parked: parked.find };
  return readModelEndpoints({
    projections: projections.map(({ name, tables }) => ({ name, tables: Object.keys(tables) })),
    status: async () => {
      const { position, problem } = runner.status();
      return { position, problem, head: await stores.feed.head() };
    },
    ...{ parked, rebuilds, settled },
    retry: createRetryParkedStream(deps),
    skip: createSkipPoisonEvent(deps),
  });
};
