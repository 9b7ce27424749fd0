import { sql } from 'kysely';
import { DomainError } from '#domain/errors.ts';
import { buildLock, isLocked } from './advisory-lock.ts';
import type { Follower } from './follower.ts';
import type { ReadModelDb } from './projection.ts';

/** The newest rebuild, as every hub on the database can tell it. */
export type RebuildProgress = Readonly<{
  id: string;
  /** `interrupted`: the hub that ran it is gone. Nothing has changed then, and it can be asked for again. */
  state: 'running' | 'completed' | 'failed' | 'cancelled' | 'interrupted';
  projections: readonly string[];
  requestedBy: string;
  startedAt: string;
  endedAt: string | null;
  eventsDone: number;
  /** As many as the log has, or what follows from how far through it the rebuild is. */
  eventsTotal: number;
  ratePerSecond: number;
  /** Null when there is no telling yet. */
  secondsLeft: number | null;
  error: string | null;
}>;

export const beginRebuild = async (
  db: ReadModelDb,
  request: Readonly<{ id: string; projections: readonly Readonly<{ name: string }>[]; requestedBy: string }>,
  head: bigint,
): Promise<void> => {
  const { id, projections, requestedBy } = request;
  await db.deleteFrom('rebuilds').execute();
  await db
    .insertInto('rebuilds')
    .values({
      ...{ id, state: 'running', requested_by: requestedBy, started_at: sql`now()`, ended_at: null },
      projections: JSON.stringify(projections.map(({ name }) => name)),
      ...{ events_done: 0, position: '0', head: head.toString(), error: null, cancel_requested: false },
    })
    .execute();
};

export const tellProgress = async (
  db: ReadModelDb,
  id: string,
  { follower, head }: Readonly<{ follower: Follower; head: bigint }>,
): Promise<Readonly<{ cancelled: boolean }>> => {
  const row = await db
    .updateTable('rebuilds')
    .set({ events_done: follower.eventsDone(), position: follower.position().toString(), head: head.toString() })
    .where('id', '=', id)
    .returning('cancel_requested')
    .executeTakeFirst();
  return { cancelled: row?.cancel_requested ?? false };
};

const reasonOf = (error: unknown): string | null =>
  error === undefined ? null : error instanceof Error ? error.message : String(error);

export const endRebuild = async (
  db: ReadModelDb,
  id: string,
  end: Readonly<{ state: 'completed' | 'failed' | 'cancelled'; follower: Follower | undefined; error?: unknown }>,
): Promise<void> => {
  const { state, follower, error } = end;
  const position = (follower?.position() ?? 0n).toString();
  await db
    .updateTable('rebuilds')
    .set({ state, ended_at: sql`now()`, events_done: follower?.eventsDone() ?? 0, position, error: reasonOf(error) })
    .$if(state === 'completed', (query) => query.set({ head: position }))
    .where('id', '=', id)
    .execute();
};

/** Positions of some stores are no count: how many events there are follows from how far the rebuild is. */
const totalOf = (eventsDone: number, position: bigint, head: bigint): number =>
  position === 0n || head <= position ? eventsDone : Math.round(eventsDone / (Number(position) / Number(head)));

export const readRebuild = async (db: ReadModelDb): Promise<RebuildProgress | undefined> => {
  const row = await db.selectFrom('rebuilds').selectAll().executeTakeFirst();
  if (!row) return undefined;
  const { rows } = await sql<{ seconds: number }>`
    select extract(epoch from coalesce(ended_at, now()) - started_at)::double precision as seconds from rebuilds
  `.execute(db);
  const seconds = Math.max(rows[0]?.seconds ?? 0, 0.001);
  const running = row.state === 'running' && (await isLocked(db, buildLock));
  const eventsTotal = totalOf(row.events_done, BigInt(row.position), BigInt(row.head));
  const rate = row.events_done / seconds;
  return {
    ...{ id: row.id, projections: row.projections, requestedBy: row.requested_by },
    state: row.state === 'running' && !running ? 'interrupted' : row.state,
    ...{ startedAt: row.started_at, endedAt: row.ended_at, eventsDone: row.events_done, eventsTotal },
    ratePerSecond: Math.round(rate),
    secondsLeft: running ? (rate === 0 ? null : Math.round((eventsTotal - row.events_done) / rate)) : 0,
    error: row.error,
  };
};

/** The hub that runs it notices within a second. Throws `rebuild-not-running`. */
export const cancelRebuild = async (db: ReadModelDb): Promise<void> => {
  const progress = await readRebuild(db);
  if (progress?.state !== 'running')
    throw new DomainError('rebuild-not-running', 'no rebuild is under way, so there is none to cancel');
  await db.updateTable('rebuilds').set({ cancel_requested: true }).where('id', '=', progress.id).execute();
};
