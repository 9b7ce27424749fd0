import { sql } from 'kysely';
import type { RecordedEvent } from '#domain/recorded-event.ts';
import type { Decisions } from './decisions.ts';
import type { Generation } from './generation.ts';
import type { AnyRecord } from './parking.ts';
import type { ReadStream } from './ports.ts';
import type { PreparedStatements } from './prepared.ts';
import type { AnyProjection, ReadModelDb } from './projection.ts';
import { compiled, statementsOf } from './statement-run.ts';
import { compiling } from './statements.ts';

/** Where events are applied to, and what is asked of the log when a stream was parked. */
export type Target = Readonly<{
  db: ReadModelDb;
  generations: readonly Generation[];
  readStream: ReadStream;
  decisions: Decisions;
  prepared: PreparedStatements;
}>;

/** What a transaction works on: generations whose checkpoints it has locked, and which of them had parked streams. */
export type Locked = Readonly<{
  generations: readonly (Generation & Readonly<{ seen: bigint }>)[];
  withParked: readonly string[];
  /** Of the server, which tells connections apart. */
  processId: number;
}>;

/** What is still to be written, in one message with the checkpoints, and what is to be done once it is. */
export type Rest = Readonly<{ texts: readonly string[]; done?: () => void }>;

export type Applier = (tx: ReadModelDb, target: Target, locked: Locked, records: readonly AnyRecord[]) => Promise<Rest>;

/** All statements in one message: what a batch costs is the database's work, not the way there and back. */
export const execute = async (tx: ReadModelDb, texts: readonly string[]): Promise<void> => {
  if (texts.length > 0) await sql.raw(texts.join(';\n')).execute(tx);
};

/** Throws `HandlerFault`. */
export const statementsFor = (projection: AnyProjection, recorded: RecordedEvent): readonly string[] =>
  statementsOf(projection, recorded, compiling).map((statement) => compiled(recorded.event.type, statement).sql);
