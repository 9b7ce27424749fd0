import { createRetryParkedStream, createSkipPoisonEvent } from '#commands/parked-streams.ts';
import type { Endpoint } from '#http/route.ts';
import { readModelEndpoints } from '#http/routes/projections.ts';
import { type LiveReadModel, projections } from './read-model.ts';
import { clock } from './services.ts';
import type { Stores } from './stores.ts';

type Deps = Readonly<{ stores: Pick<Stores, 'store' | 'feed'>; readModel: LiveReadModel }>;

/** What administrators ask of the read models and do to them. */
export const readModelAdmin = ({ stores, readModel }: Deps): readonly Endpoint[] => {
  const { runner, rebuilds, parked, followed, settled } = readModel;
  const deps = { store: stores.store, clock, parked: parked.find };
  return readModelEndpoints({
    projections: projections.map(({ name, tables }) => ({ name, tables: Object.keys(tables) })),
    status: async () => {
      const { position, problem } = runner.status();
      const [head, log] = await Promise.all([stores.feed.head(), followed()]);
      return { position, problem, head, log };
    },
    ...{ parked, rebuilds, settled },
    retry: createRetryParkedStream(deps),
    skip: createSkipPoisonEvent(deps),
  });
};
