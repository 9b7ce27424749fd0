import type { RecordedEvent } from '#domain/recorded-event.ts';
import { readCheckpoints } from './apply.ts';
import { beginAnewAlone } from './begin-anew.ts';
import {
  endMarks,
  type FollowedLog,
  type Marks,
  noteLog,
  noteMarks,
  readFollowedLog,
  slotsFor,
} from './followed-log.ts';
import { type Generation, liveGenerations } from './generation.ts';
import { pause } from './pause.ts';
import type { EventSource, LogIdentity, LogMark } from './ports.ts';
import type { AnyProjection, ReadModelDb } from './projection.ts';
import { whyAnother } from './same-log.ts';

/** Positions are those of one log: from another one's, nothing may be applied to the same tables. */
export class AnotherLog extends Error {
  constructor(why: string) {
    super(
      `the event log is no longer the one that the read models follow: ${why}; nothing of it is applied. Restart the hub: it then builds them anew`,
    );
    this.name = 'AnotherLog';
  }
}

type Deps = Readonly<{
  db: ReadModelDb;
  projections: readonly AnyProjection[];
  log: LogIdentity;
  source: EventSource;
  /** A random id for the log, if none is noted. */
  newId: () => string;
  /** Told when the tables are begun anew, and why. */
  onBegunAnew: (why: string) => void;
  onProblem: (error: unknown) => void;
  /** How long a hub that still uses the tables for another log is waited for. */
  patienceMs?: number;
}>;

export interface OwnLog {
  /**
   * Finds out whether the tables are of this log, and begins them anew if not. Only for who holds `logLock`: before anything
   * is read from the tables, and when its claim on them was lost for a while. Throws `TablesInUse`.
   */
  settle(connection: ReadModelDb): Promise<void>;
  /** The log, as long as it is that one: else it throws `AnotherLog`. */
  readonly source: EventSource;
  /** An event of it, by which it can be known again. */
  applied(event: RecordedEvent): void;
  /** Writes what was told, now and then until the signal; the last time after `last`. */
  keep(last: Promise<unknown>): Promise<void>;
  /** What is noted in the database; undefined before it was settled. */
  followed(): Promise<FollowedLog | undefined>;
}

const noteEveryMs = 1_000;
const defaultPatienceMs = 10_000;

const greatest = (positions: Iterable<bigint>): bigint => [...positions].reduce((a, b) => (a > b ? a : b), 0n);

/** Keeps tables and log together: checkpoints are positions of one log and mean nothing in another. */
export const createOwnLog = (deps: Deps, signal: AbortSignal): OwnLog => {
  const { db, log, source } = deps;
  const generations: readonly Generation[] = liveGenerations(deps.projections);
  let id: string | undefined;
  let takenOver = false;
  let pending = new Map<string, LogMark>();

  /** The checkpoints before the head: it is then never behind what a hub has applied meanwhile. */
  const compare = async (connection: ReadModelDb, noted: FollowedLog | undefined): Promise<string | undefined> => {
    const checkpoint = greatest((await readCheckpoints(connection, generations)).values());
    return whyAnother(log, { checkpoint, marks: noted?.marks ?? [] });
  };

  const beginAnew = async (connection: ReadModelDb, why: string, marks: Marks): Promise<void> => {
    const fresh = deps.newId();
    const note = (tx: ReadModelDb) => noteLog(tx, { id: fresh, reason: why, marks });
    const { patienceMs = defaultPatienceMs } = deps;
    await beginAnewAlone(connection, { generations, why, note, patienceMs }, signal);
    id = fresh;
    deps.onBegunAnew(why);
  };

  const settle = async (connection: ReadModelDb): Promise<void> => {
    const noted = await readFollowedLog(connection);
    if (id !== undefined) {
      takenOver = noted !== undefined && noted.id !== id;
      return;
    }
    const why = await compare(connection, noted);
    const marks = endMarks(await log.ends());
    if (why !== undefined) return beginAnew(connection, why, marks);
    const known = noted?.id ?? deps.newId();
    if (noted) await noteMarks(connection, known, marks);
    else await connection.transaction().execute((tx) => noteLog(tx, { id: known, reason: null, marks }));
    id = known;
  };

  const assertSame = async (): Promise<void> => {
    const noted = await readFollowedLog(db);
    if (noted && noted.id !== id) takenOver = true;
    if (takenOver) throw new AnotherLog('another hub has begun them anew for its own');
    const why = await compare(db, noted);
    if (why !== undefined) throw new AnotherLog(why);
  };

  async function* subscribe(...args: Parameters<EventSource['subscribe']>) {
    await assertSame();
    for await (const item of source.subscribe(...args)) {
      if (takenOver) await assertSame();
      yield item;
    }
  }

  const write = async (): Promise<void> => {
    const marks = pending;
    if (id === undefined || marks.size === 0) return;
    pending = new Map();
    try {
      await noteMarks(db, id, marks);
    } catch (error) {
      pending = new Map([...marks, ...pending]);
      deps.onProblem(error);
    }
  };

  return {
    settle,
    source: { head: (stop) => source.head(stop), subscribe },
    applied: (event) => {
      for (const slot of slotsFor(event)) pending.set(slot, event);
    },
    keep: async (last) => {
      while (!signal.aborted) {
        await pause(noteEveryMs, signal);
        await write();
      }
      await last;
      await write();
    },
    followed: () => readFollowedLog(db),
  };
};
