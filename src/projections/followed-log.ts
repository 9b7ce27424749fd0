import { sql } from 'kysely';
import { isLasting } from './event-index.ts';
import type { LogMark } from './ports.ts';
import type { ReadModelDb } from './projection.ts';

/** What the database says about the log that its tables follow. */
export type FollowedLog = Readonly<{
  id: string;
  /** When it was noted. */
  since: string;
  /** Why the tables were begun anew then; null where they were not. */
  reason: string | null;
  /** The newest first: it tells people more than the others. */
  marks: readonly LogMark[];
}>;

/** One mark each; a newer event takes the place of an older one. */
export type Marks = ReadonlyMap<string, LogMark>;

export const readFollowedLog = async (db: ReadModelDb): Promise<FollowedLog | undefined> => {
  const row = await db.selectFrom('followed_log').select(['id', 'since', 'reason']).executeTakeFirst();
  if (!row) return undefined;
  const marks = await db.selectFrom('log_marks').selectAll().orderBy('position', 'desc').execute();
  return {
    ...row,
    marks: marks.map(({ stream, revision, position, event_id: id }) => ({
      ...{ stream, id, revision: BigInt(revision), position: BigInt(position) },
    })),
  };
};

/** In the transaction that makes the tables those of this log. */
export const noteLog = async (
  tx: ReadModelDb,
  log: Readonly<{ id: string; reason: string | null; marks: Marks }>,
): Promise<void> => {
  await tx.deleteFrom('followed_log').execute();
  await tx.deleteFrom('log_marks').execute();
  await tx.insertInto('followed_log').values({ id: log.id, reason: log.reason, since: sql`now()` }).execute();
  await noteMarks(tx, log.id, log.marks);
};

/** Writes nothing when another log was noted since. */
export const noteMarks = async (db: ReadModelDb, id: string, marks: Marks): Promise<void> => {
  if (marks.size === 0) return;
  const rows = [...marks].map(([slot, { stream, revision, position, id: eventId }]) => ({
    ...{ slot, stream, position: `${position}`, revision: `${revision}`, event_id: eventId },
  }));
  await sql`
    insert into log_marks (slot, position, stream, revision, event_id)
    select slot, position, stream, revision, event_id
    from jsonb_to_recordset(${JSON.stringify(rows)}::jsonb)
      as mark(slot text, position numeric, stream text, revision numeric, event_id text)
    where exists (select 1 from followed_log where id = ${id})
    on conflict (slot) do update set
      position = excluded.position, stream = excluded.stream, revision = excluded.revision, event_id = excluded.event_id
    where log_marks.position < excluded.position
  `.execute(db);
};

export const endMarks = (ends: Readonly<{ first: LogMark; newest: LogMark }> | undefined): Marks =>
  new Map(ends ? Object.entries(ends) : []);

type Markable = LogMark & Readonly<{ recordedAt: string; event: Readonly<{ type: string }> }>;

const days = 7;

/**
 * Where an event may stand as a mark: as the newest, and, if the log keeps it for good, for some days beyond that. The newest
 * alone would not do: it may be scavenged while no hub runs.
 */
export const slotsFor = ({ event, recordedAt }: Markable): readonly string[] =>
  isLasting(event.type) ? ['newest', `day-${Number(recordedAt.slice(8, 10)) % days}`] : ['newest'];
