import type { Kysely } from 'kysely';
import type { DomainEvent } from '#domain/decider.ts';
import type { ReadModel } from './read-model.ts';

/** A recorded event as a projection sees it. */
export type Projected<E extends DomainEvent> = Readonly<{
  data: E['data'];
  stream: string;
  revision: bigint;
  position: bigint;
  recordedAt: string;
}>;

/** A kysely query that has not run yet. */
export type Statement = Readonly<{ execute(): Promise<unknown> }>;

export type ReadModelDb = Kysely<ReadModel>;

/** Pure: builds statements; the runner alone executes them, in order, in one transaction with the checkpoint. */
export type Handler<E extends DomainEvent> = (event: Projected<E>, db: ReadModelDb) => readonly Statement[];

/**
 * One read model. A changed view gets a new name (`.v2`) and is rebuilt from the first event. Handlers touch their own
 * tables only, and an event arrives exactly once, in log order.
 */
export type Projection<E extends DomainEvent = DomainEvent> = Readonly<{
  name: string;
  /** Emptied before a rebuild; children before parents. */
  tables: readonly (keyof ReadModel)[];
  on: { readonly [Type in E['type']]: Handler<Extract<E, { type: Type }>> };
}>;

/** What the runner works with: the dispatch by name has lost the event's type. */
export type AnyProjection = Readonly<{
  name: string;
  tables: readonly (keyof ReadModel)[];
  on: Readonly<Record<string, Handler<DomainEvent>>>;
}>;

/** Forgets the event types of a projection, for the runner's list. */
export const anyProjection = (projection: Readonly<{ name: string; tables: AnyProjection['tables']; on: object }>) =>
  projection as AnyProjection;
