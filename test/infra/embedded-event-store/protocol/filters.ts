import type { Filter } from '@eventstore/db-client';

type Expression = Readonly<{ prefixes: string[] }> | Readonly<{ regex: string }>;

const filter = (filterOn: 'streamName' | 'eventType', expression: Expression) =>
  ({ filterOn, checkpointInterval: 1, ...expression }) as Filter;

/** As the libraries' functions of these names make them, without loading either. */
export const streamNameFilter = (expression: Expression) => filter('streamName', expression);
export const eventTypeFilter = (expression: Expression) => filter('eventType', expression);
