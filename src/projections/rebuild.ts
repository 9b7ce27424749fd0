import { DomainError } from '#domain/errors.ts';
import { buildLock, withLock } from './advisory-lock.ts';
import type { Target } from './batch.ts';
import { readDecisions } from './decisions.ts';
import { type Difference, differences } from './equality.ts';
import { type Follower, followFromStart } from './follower.ts';
import { type Beside, beside, type Generation, liveGenerations } from './generation.ts';
import { createGenerations } from './generations.ts';
import { pause } from './pause.ts';
import type { EventSource, ReadStream } from './ports.ts';
import { PreparedStatements } from './prepared.ts';
import type { AnyProjection, ReadModelDb } from './projection.ts';
import { beginRebuild, endRebuild, readRebuild, tellProgress } from './rebuild-record.ts';
import { takeOver } from './take-over.ts';
import { dropBeside } from './tidy.ts';

export type BuildDeps = Readonly<{
  /** Of the live generations. */
  db: ReadModelDb;
  openSchemas: (schemas: readonly string[]) => ReadModelDb;
  source: EventSource;
  readStream: ReadStream;
}>;

export class RebuildCancelled extends Error {
  constructor() {
    super('the rebuild was cancelled');
    this.name = 'RebuildCancelled';
  }
}

const refuse = (): DomainError =>
  new DomainError('rebuild-running', 'read models are being rebuilt or checked already; wait until that has ended');

const tryAgainMs = 100;
/** Longer than tidying up takes, which needs the lock as well. */
const patienceMs = 5_000;

/** False when a rebuild is under way, or something else for longer than it should be. */
const whenFree = async (
  db: ReadModelDb,
  work: (connection: ReadModelDb) => Promise<void>,
  signal: AbortSignal,
): Promise<boolean> => {
  const until = performance.now() + patienceMs;
  while (!(await withLock(db, buildLock, work))) {
    if (performance.now() > until || (await readRebuild(db))?.state === 'running') return false;
    await pause(tryAgainMs, signal);
    signal.throwIfAborted();
  }
  return true;
};

type Building = Readonly<{ live: readonly Generation[]; built: readonly Generation[]; follower: Follower }>;

/** Empty tables beside the live ones, and the log from its beginning; both are gone when the work has ended. */
const buildBeside = async (
  deps: BuildDeps,
  plan: Readonly<{ live: readonly Generation[]; what: Beside }>,
  signal: AbortSignal,
  work: (building: Building, db: ReadModelDb) => Promise<void>,
): Promise<void> => {
  const { live, what } = plan;
  const built = live.map((generation) => beside(generation, what));
  await createGenerations(deps.db, built);
  const db = deps.openSchemas(built.map(({ schema }) => schema));
  const decisions = await readDecisions(
    deps.readStream,
    live.map(({ projection }) => projection),
  );
  const prepared = new PreparedStatements();
  const target: Target = { db, generations: built, readStream: deps.readStream, decisions, prepared };
  const follower = followFromStart(deps.source, target, signal);
  try {
    await work({ live, built, follower }, db);
  } finally {
    await follower.close();
    await db.destroy();
  }
};

const tellEveryMs = 500;

/** Builds until the end of the log, tells how it gets on, then takes over; tries that again until it is done. */
const buildAndTakeOver = async (
  deps: BuildDeps,
  connection: ReadModelDb,
  { live, follower }: Building,
  id: string,
): Promise<void> => {
  let toldAtMs = Number.NEGATIVE_INFINITY;
  const tell = async (): Promise<void> => {
    if (performance.now() - toldAtMs < tellEveryMs) return;
    toldAtMs = performance.now();
    const head = await deps.source.head();
    const { cancelled } = await tellProgress(deps.db, id, { follower, head });
    if (cancelled) throw new RebuildCancelled();
  };
  for (;;) {
    await tell();
    if (follower.caughtUp() && (await takeOver(connection, live, follower))) return;
    await follower.step({ patienceMs: tellEveryMs });
  }
};

export type RebuildRequest = Readonly<{ id: string; projections: readonly AnyProjection[]; requestedBy: string }>;

/**
 * Builds new tables from the first event beside the live ones, all projections in one pass, and lets them take over. A
 * rebuild that fails or is cancelled changes nothing. `begun` resolves when it runs, and throws `rebuild-running` when
 * another one does, of whichever hub; `done` never rejects: the record tells how it ended.
 */
export const startRebuild = (deps: BuildDeps, request: RebuildRequest, signal: AbortSignal) => {
  const { id, projections } = request;
  const live = liveGenerations(projections);
  const begun = Promise.withResolvers<void>();
  const run = async (connection: ReadModelDb): Promise<void> => {
    await dropBeside(deps.db);
    await beginRebuild(deps.db, request, await deps.source.head());
    begun.resolve();
    let follower: Follower | undefined;
    try {
      await buildBeside(deps, { live, what: 'next' }, signal, async (building) => {
        follower = building.follower;
        await buildAndTakeOver(deps, connection, building, id);
      });
      await endRebuild(deps.db, id, { state: 'completed', follower });
    } catch (caught) {
      const error = signal.aborted ? new Error('the hub was stopped; ask again') : caught;
      await endRebuild(deps.db, id, { state: endOf(error), follower, error });
    } finally {
      await dropBeside(deps.db);
    }
  };
  const done = whenFree(deps.db, run, signal).then(
    (held) => {
      if (!held) begun.reject(refuse());
    },
    (error: unknown) => begun.reject(error),
  );
  return { begun: begun.promise, done };
};

const endOf = (error: unknown): 'cancelled' | 'failed' => (error instanceof RebuildCancelled ? 'cancelled' : 'failed');

/**
 * Builds throw-away tables up to where the live ones are and compares every row of every table. Throws `rebuild-running`
 * when a rebuild or another check is under way.
 */
export const checkEquality = async (
  deps: BuildDeps,
  projections: readonly AnyProjection[],
  signal: AbortSignal,
): Promise<readonly Difference[]> => {
  const live = liveGenerations(projections);
  let found: readonly Difference[] = [];
  const compare = async (): Promise<void> => {
    await dropBeside(deps.db);
    try {
      await buildBeside(deps, { live, what: 'check' }, signal, async ({ follower, built }, db) => {
        found = await differences({ live: deps.db, built: db }, { live, built, follower });
      });
    } finally {
      await dropBeside(deps.db);
    }
  };
  if (!(await whenFree(deps.db, compare, signal))) throw refuse();
  return found;
};
