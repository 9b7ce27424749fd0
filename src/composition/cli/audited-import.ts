import { randomUUID } from 'node:crypto';
import type { EventStoreDBClient } from '@eventstore/db-client';
import type { AuditEntry } from '#domain/audit/entry.ts';
import { prefixOf, streamOf } from '#domain/streams.ts';
import { createEventStore } from '#infra/event-store/event-store.ts';
import { type ImportOptions, type ImportResult, importEvents } from '#infra/event-transfer/import-events.ts';
import type { StoredEvent } from '#infra/event-transfer/stored-event.ts';
import { markImport, unfinishedImport, unmarkImport } from '#infra/unfinished-import.ts';
import { eventVersions, upcast } from '../event-registry.ts';
import { recordDone } from './audited.ts';

export type AuditedImport = Readonly<{
  client: EventStoreDBClient;
  dataDir: string;
  files: ImportOptions['files'];
  /** The history in words, for who is told that the import was broken off. */
  what: string;
  /** For the entry. */
  facts: Readonly<Record<string, string>>;
  onProgress: NonNullable<ImportOptions['onProgress']>;
  /** What belongs to the import beside the events. */
  afterEvents?: () => Promise<void>;
}>;

const action = 'ImportEvents';

type Entries = Readonly<{ entries?: readonly Pick<AuditEntry, 'id' | 'action'>[] }>;

const entriesIn = ({ type, data }: StoredEvent): NonNullable<Entries['entries']> => {
  if (type !== 'AuditBatchRecorded') return [];
  try {
    return (JSON.parse(Buffer.from(data).toString('utf8')) as Entries).entries ?? [];
  } catch {
    return [];
  }
};

/** What the entry of an import needs around it, where its day is not that of the entry before. */
const isDayChange = ({ stream, type }: StoredEvent): boolean =>
  (stream.startsWith(prefixOf('audit')) && type === 'AuditDayClosed') || stream === streamOf.auditDays();

/** Watches what the target holds: repeating an import must neither trip over its entry nor write another. */
const createOwnEvents = (entryId: string) => {
  let hasEntry = false;
  return {
    isOwn: (event: StoredEvent): boolean => {
      const entries = entriesIn(event);
      hasEntry ||= entries.some(({ id }) => id === entryId);
      return isDayChange(event) || (entries.length > 0 && entries.every((entry) => entry.action === action));
    },
    hasEntry: () => hasEntry,
  };
};

/**
 * Imports and leaves one entry behind what was imported. From the first event that is written until the entry is there the
 * data directory is marked: no hub starts on less than all of it, and the same command goes on with whatever is missing.
 */
export const importAudited = async (wanted: AuditedImport, signal: AbortSignal): Promise<ImportResult> => {
  const { client, dataDir, files, what, onProgress, afterEvents } = wanted;
  const begun = await unfinishedImport(dataDir);
  const entryId = begun?.entryId ?? randomUUID();
  const own = createOwnEvents(entryId);
  const onBegin = () => markImport(dataDir, { what, entryId });
  const result = await importEvents({ client, files, onBegin, onProgress, isOwn: own.isOwn }, signal);
  await afterEvents?.();
  const { events, written } = result;
  if (!own.hasEntry() && (written > 0 || begun)) {
    const store = createEventStore({ client, upcast, versions: eventVersions });
    const facts = { ...wanted.facts, events: `${events}`, written: `${written}` };
    await recordDone(store, { id: entryId, action, objectType: 'eventStore', facts });
  }
  await unmarkImport(dataDir);
  return result;
};
