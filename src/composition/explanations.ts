import type { Endpoint } from '#http/route.ts';
import { eventCausesEndpoints } from '#http/routes/event-causes.ts';
import { explainEndpoints } from '#http/routes/explain.ts';
import { jobDiffEndpoints } from '#http/routes/job-diff.ts';
import { eventIndexQueries } from '#projections/event-index.ts';
import type { LiveReadModel } from './read-model.ts';
import type { Stores } from './stores.ts';

type Deps = Readonly<{ stores: Pick<Stores, 'store' | 'feed' | 'database'>; readModel: LiveReadModel }>;

/** What the log alone can tell: why, from when to when, and what led to what. */
export const explanationEndpoints = ({ stores, readModel }: Deps): readonly Endpoint[] => {
  const { store, feed, database } = stores;
  const caughtUp = async (signal: AbortSignal) => readModel.settled(await feed.head(signal));
  return [
    ...explainEndpoints({ store }),
    ...jobDiffEndpoints({ store }),
    ...eventCausesEndpoints({ index: eventIndexQueries(database.readModel), store, caughtUp }),
  ];
};
