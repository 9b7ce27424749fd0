import type { CompiledQuery, Kysely } from 'kysely';
import type { DomainEvent } from '#domain/decider.ts';
import type { EventMetadata } from '#domain/recorded-event.ts';
import type { ReadModel } from './read-model.ts';

// A new read model is one file here and one line in the list of src/composition/read-model.ts:
// - its rows' types are added to `ReadModel` (read-model.ts),
// - its `tables` hold the statements that create them: `create table` first, then its indexes, all with plain names. There
//   is no migration: tables, name and statements make the fingerprint by which a generation is known, so a changed or new
//   view is built from the first event, beside the one of the version that runs,
// - what it counts with (numbers handed out in log order) is in a table of its own, so that a rebuild begins at nothing.

/** A recorded event as a projection sees it. */
export type Projected<E extends DomainEvent> = Readonly<{
  data: E['data'];
  id: string;
  metadata: EventMetadata;
  stream: string;
  revision: bigint;
  position: bigint;
  recordedAt: string;
}>;

/** A kysely query that has not run yet; a raw one is given its database: `{ compile: () => query.compile(db) }`. */
export type Statement = Readonly<{
  compile(): CompiledQuery;
  /**
   * Of statements with the same one the last alone is executed, where nothing but patient events stands between their
   * events: it must come to the same as all of them in turn.
   */
  latestOf?: string;
}>;

/** A statement that overwrites whatever earlier ones of that name wrote. It is built only if it is executed. */
export const latestOf = (name: string, build: () => Statement): Statement => ({
  latestOf: name,
  compile: () => build().compile(),
});

export type ReadModelDb = Kysely<ReadModel>;

/** Pure: builds statements; the runner alone executes them, in order, in one transaction with the checkpoint. */
export type Handler<E extends DomainEvent> = (event: Projected<E>, db: ReadModelDb) => readonly Statement[];

/** The statements that create each table, its indexes included. */
export type Tables = Readonly<Partial<Record<keyof ReadModel, readonly string[]>>>;

/**
 * One read model. A view whose rows come out differently gets a new name (`.v2`) and is built from the first event.
 * Handlers touch their own tables only, and an event arrives exactly once, in log order.
 */
export type Projection<E extends DomainEvent = DomainEvent> = Readonly<{
  name: string;
  tables: Tables;
  on: { readonly [Type in E['type']]: Handler<Extract<E, { type: Type }>> };
  /** Types that come in floods and that nobody waits for: they may be applied a moment later, many at once. */
  patient?: readonly E['type'][];
}>;

/** What the runner works with: the dispatch by name has lost the event's type. */
export type AnyProjection = Readonly<{
  name: string;
  tables: Tables;
  on: Readonly<Record<string, Handler<DomainEvent>>>;
  patient?: readonly string[];
}>;

/** Forgets the event types of a projection, for the runner's list. */
export const anyProjection = (
  projection: Readonly<{ name: string; tables: Tables; on: object; patient?: readonly string[] }>,
) => projection as AnyProjection;
