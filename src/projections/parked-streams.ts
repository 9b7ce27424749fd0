import { liveGeneration } from './generation.ts';
import type { AnyProjection, ReadModelDb } from './projection.ts';

/** A stream whose events a projection does not apply until somebody has decided about the first of them. */
export type ParkedStream = Readonly<{
  projection: string;
  stream: string;
  /** Of the event that could not be applied. */
  revision: number;
  position: string;
  eventId: string;
  eventType: string;
  error: string;
  recordedAt: string;
  parkedAt: string;
  /** How often it was tried. */
  attempts: number;
  /** Later events of the stream, which wait behind it. */
  waiting: number;
}>;

/** What is parked, by projection; in the order of the log. */
export const parkedStreamQueries = (db: ReadModelDb, projections: readonly AnyProjection[]) => {
  const nameOf = new Map(projections.map((projection) => [liveGeneration(projection).schema, projection.name]));

  const list = async (projection?: string): Promise<readonly ParkedStream[]> => {
    const schemas = [...nameOf].filter(([, name]) => projection === undefined || name === projection);
    if (schemas.length === 0) return [];
    const rows = await db
      .selectFrom('parked_streams')
      .selectAll()
      .where(
        'projection',
        'in',
        schemas.map(([schema]) => schema),
      )
      .orderBy('head_position')
      .execute();
    return rows.map((row) => ({
      ...{ projection: nameOf.get(row.projection) ?? row.projection, stream: row.stream },
      ...{ revision: Number(row.head_revision), position: row.head_position, eventId: row.event_id },
      ...{ eventType: row.event_type, error: row.error, recordedAt: row.recorded_at, parkedAt: row.parked_at },
      ...{ attempts: row.attempts, waiting: row.waiting },
    }));
  };

  return {
    list,
    find: async (projection: string, stream: string): Promise<ParkedStream | undefined> =>
      (await list(projection)).find((parked) => parked.stream === stream),
    /** How many, of each projection. */
    counts: async (): Promise<ReadonlyMap<string, number>> => {
      const rows = await db
        .selectFrom('checkpoints')
        .select(['projection', 'parked'])
        .where('projection', 'in', [...nameOf.keys()])
        .execute();
      return new Map(rows.map((row) => [nameOf.get(row.projection) ?? row.projection, row.parked]));
    },
  };
};

export type ParkedStreamQueries = ReturnType<typeof parkedStreamQueries>;
