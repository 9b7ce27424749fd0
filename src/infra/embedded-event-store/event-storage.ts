import { copyFileSync, existsSync } from 'node:fs';
import { join } from 'node:path';
import type { DatabaseSync } from 'node:sqlite';
import { AcknowledgedMark } from './acknowledged.ts';
import { Changes } from './changes.ts';
import { DamageReporter } from './damage.ts';
import { closeDatabase, openDatabase } from './database.ts';
import { EventReader } from './event-reader.ts';
import { EventRows } from './event-rows.ts';
import { type AppendRequest, EventWriter, type WriteOutcome } from './event-writer.ts';
import type { ExpectedRevision } from './expected-revision.ts';
import { Gaps } from './gaps.ts';
import { GroupCommit } from './group-commit.ts';
import { LogTail } from './log-tail.ts';
import { startScavengeSchedule } from './scavenge-schedule.ts';
import { type ScavengeProgress, Scavenger } from './scavenger.ts';
import { isWriteRefusal } from './sqlite-errors.ts';
import { StreamHeads } from './stream-heads.ts';
import { StreamNames } from './stream-names.ts';
import { Verifier, type VerifyProgress } from './verifier.ts';

export type EventStorageOptions = Readonly<{
  dataDir: string;
  /** Refuses appends beyond it, like a full disk. */
  maxSizeBytes?: number;
  /** Scavenges by itself once the last time was that long ago; 0: only when asked to. Default: a day. */
  scavengeEveryMs?: number;
  /** Something that an operator should know and that ends nothing. */
  warn?: (sentence: string) => void;
  /** A commit failed in an unknown way: the process has to end, the next start reads the truth from the disk. */
  failed: (error: unknown) => void;
}>;

/**
 * Durable storage of events over SQLite, in the thread of its caller. Writes reject with `StorageFull`, `StorageClosed`
 * or `StoreDamaged` and are otherwise answered after they are on disk. Reads see committed events only.
 */
export type EventStorage = Readonly<{
  reader: EventReader;
  changes: Changes;
  lastPosition: () => number;
  append: (request: AppendRequest, sizeBytes: number) => Promise<WriteOutcome>;
  delete: (streamName: string, expected: ExpectedRevision) => Promise<WriteOutcome>;
  tombstone: (streamName: string, expected: ExpectedRevision) => Promise<WriteOutcome>;
  /** Gives the space of truncated and deleted streams back; nothing happens unless it is asked for the next progress. */
  scavenge: () => AsyncGenerator<ScavengeProgress, void, undefined>;
  /** Reads and checks everything. */
  verify: () => AsyncGenerator<VerifyProgress, void, undefined>;
  close: () => void;
}>;

const smallWriteBytes = 1024;
const dayMs = 24 * 60 * 60 * 1000;

/** Clients expect $all to begin with an event of the system, as it does on a server that was just installed. */
const statsMetadata = '{"$maxAge":86400}';

const assemble = (database: DatabaseSync) => {
  const damage = new DamageReporter(database);
  const tail = new LogTail(database, damage);
  const gaps = new Gaps(database, damage);
  const rows = new EventRows({ database, tail, gaps, damage });
  const names = new StreamNames(database, tail.streams, damage);
  const heads = new StreamHeads({ database, names, tail, rows, damage });
  const writer = new EventWriter({ database, heads, rows, tail });
  return { damage, tail, gaps, rows, heads, writer, reader: new EventReader(rows, heads) };
};

/** SQLite clears its log away when it closes; what is left of one that lost its end may still be worth a look. */
const keepLog = (dataDir: string): void => {
  const log = join(dataDir, 'events.sqlite-wal');
  if (existsSync(log)) copyFileSync(log, `${log}.damaged`);
};

/** A log that ends before what was acknowledged lost its end. */
const openMark = (dataDir: string, tail: LogTail, damage: DamageReporter): AcknowledgedMark => {
  const mark = new AcknowledgedMark(dataDir);
  if (mark.position <= tail.lastPosition) return mark;
  mark.close();
  keepLog(dataDir);
  const lost = `position ${mark.position} was acknowledged, but it ends at ${tail.lastPosition}`;
  throw damage.structure(`${lost} (to go on without what is lost, remove event-store.acknowledged beside it)`);
};

export const openEventStorage = async (options: EventStorageOptions): Promise<EventStorage> => {
  const database = openDatabase(options.dataDir, options.maxSizeBytes);
  try {
    return await serve(database, options);
  } catch (error) {
    database.close(); // as it was found: a damaged log is evidence
    throw error;
  }
};

const serve = async (database: DatabaseSync, options: EventStorageOptions): Promise<EventStorage> => {
  const { writer, reader, ...parts } = assemble(database);
  const { damage, tail, heads } = parts;
  const mark = openMark(options.dataDir, tail, damage);
  const changes = new Changes();
  const commits = new GroupCommit(database, {
    committing: () => {
      damage.throwIfStructural();
      tail.save();
    },
    committed: () => {
      tail.committed();
      heads.committed();
      mark.write(tail.lastPosition);
      changes.publish(writer.committed());
    },
    rolledBack: () => {
      tail.rolledBack();
      heads.rolledBack();
      writer.rolledBack();
    },
    translated: (error) => (isWriteRefusal(error) ? damage.translated(error, 'what an append changes') : error),
    failed: options.failed,
  });
  const scavenger = new Scavenger({ ...parts, database, commits });
  const { scavengeEveryMs = dayMs, warn = (sentence) => void process.stderr.write(`${sentence}\n`) } = options;
  if (tail.lastPosition === 0) await commits.run(smallWriteBytes, () => writer.writeMetadata('$stats', statsMetadata));
  const stopSchedule = startScavengeSchedule({
    everyMs: scavengeEveryMs === 0 ? Number.POSITIVE_INFINITY : scavengeEveryMs,
    lastAtMs: () => tail.scavengedAtMs,
    scavenge: () => scavenger.run(),
    failed: (error) => warn(`The scheduled scavenge failed: ${error instanceof Error ? error.message : String(error)}`),
  });
  return {
    reader,
    changes,
    lastPosition: () => tail.lastPosition,
    append: (request, sizeBytes) => commits.run(sizeBytes, () => writer.append(request)),
    delete: (streamName, expected) => commits.run(smallWriteBytes, () => writer.delete(streamName, expected)),
    tombstone: (streamName, expected) => commits.run(smallWriteBytes, () => writer.tombstone(streamName, expected)),
    scavenge: () => scavenger.run(),
    verify: () => new Verifier({ ...parts, database }).run(),
    close: () => {
      stopSchedule();
      commits.close();
      mark.close();
      closeDatabase(database);
    },
  };
};
