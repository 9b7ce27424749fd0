import { Changes } from './changes.ts';
import { closeDatabase, openDatabase } from './database.ts';
import { EventReader } from './event-reader.ts';
import { type AppendRequest, EventWriter, type WriteOutcome } from './event-writer.ts';
import type { ExpectedRevision } from './expected-revision.ts';
import { GroupCommit } from './group-commit.ts';
import { StreamHeads } from './stream-heads.ts';

export type EventStorageOptions = Readonly<{
  dataDir: string;
  /** Refuses appends beyond it, like a full disk. */
  maxSizeBytes?: number;
  /** A commit failed in an unknown way: the process has to end, the next start reads the truth from the disk. */
  failed: (error: unknown) => void;
}>;

/**
 * Durable storage of events over SQLite, in the thread of its caller. Writes reject with `StorageFull` or `StorageClosed`
 * and are otherwise answered after they are on disk. Reads see committed events only.
 */
export type EventStorage = Readonly<{
  reader: EventReader;
  changes: Changes;
  lastPosition: () => number;
  append: (request: AppendRequest, sizeBytes: number) => Promise<WriteOutcome>;
  delete: (streamName: string, expected: ExpectedRevision) => Promise<WriteOutcome>;
  tombstone: (streamName: string, expected: ExpectedRevision) => Promise<WriteOutcome>;
  close: () => void;
}>;

const smallWriteBytes = 1024;

/** Clients expect $all to begin with an event of the system, as it does on a server that was just installed. */
const statsMetadata = '{"$maxAge":86400}';

export const openEventStorage = async (options: EventStorageOptions): Promise<EventStorage> => {
  const database = openDatabase(options.dataDir, options.maxSizeBytes);
  const heads = new StreamHeads(database);
  const writer = new EventWriter(database, heads);
  const changes = new Changes();
  const commits = new GroupCommit(database, {
    committed: () => changes.publish(writer.committed()),
    rolledBack: () => writer.rolledBack(),
    failed: options.failed,
  });
  if (writer.lastPosition === 0)
    await commits.run(smallWriteBytes, () => writer.writeMetadata('$stats', statsMetadata));
  return {
    reader: new EventReader(database, heads),
    changes,
    lastPosition: () => writer.lastPosition,
    append: (request, sizeBytes) => commits.run(sizeBytes, () => writer.append(request)),
    delete: (streamName, expected) => commits.run(smallWriteBytes, () => writer.delete(streamName, expected)),
    tombstone: (streamName, expected) => commits.run(smallWriteBytes, () => writer.tombstone(streamName, expected)),
    close: () => {
      commits.close();
      closeDatabase(database);
    },
  };
};
