import { isDeepStrictEqual } from 'node:util';
import type { EventStoreDBClient } from '@eventstore/db-client';
import { checkFiles, eventsOf, type FileSet, ImportRefused, type KnownFile } from './file-set.ts';
import { type Held, ImportLedger } from './import-ledger.ts';
import { newestBefore, readHistory } from './log-reader.ts';
import { type StoredEvent, tombstoneType } from './stored-event.ts';
import { parseBounds, withGapHidden } from './stream-bounds.ts';
import { TargetWriter } from './target-writer.ts';

export type ImportPhase = 'checking' | 'comparing' | 'importing';

export type ImportOptions = Readonly<{
  client: EventStoreDBClient;
  /** One file, or several of which each goes on where the one before it ends. */
  files: readonly KnownFile[];
  /**
   * Whether an event of the target that no file holds was left by an import, and so does not make its history another one.
   * Where the files have something else in its place, they are refused all the same.
   */
  isOwn?: (event: StoredEvent) => boolean;
  /** Called once all is checked, right before the first event is written. */
  onBegin?: () => Promise<void>;
  onProgress?: (progress: Readonly<{ phase: ImportPhase; events: number; total?: number }>) => void;
}>;

export type ImportResult = Readonly<{
  /** In the files. */
  events: number;
  written: number;
  /** The target had them already. */
  present: number;
  /** Markers for revisions whose events no longer existed. */
  gaps: number;
}>;

const progressEvery = 500;

/** Reads all that the target holds of the history; `toCompare`: some of it must be in the files. */
const readTarget = async (
  { client, isOwn = () => false }: ImportOptions,
  ledger: ImportLedger,
  { after }: FileSet,
  signal?: AbortSignal,
) => {
  const newest = await newestBefore(client, 'end');
  let before = after !== undefined;
  let found = { any: false, toCompare: false };
  for await (const event of readHistory(client, { cursor: undefined, to: newest?.position ?? -1n }, signal)) {
    ledger.noteTarget(event, before || isOwn(event));
    found = { any: true, toCompare: found.toCompare || !before };
    if (after && event.stream === after.stream && event.id === after.id) before = false;
  }
  if (before && after) {
    throw new ImportRefused(
      `The files go on after ${after.stream} revision ${after.revision}, which the target does not hold. Import what comes before them first.`,
    );
  }
  return found;
};

/** Servers write metadata by themselves when a deleted stream gets events again: with an id of their own. */
const saysTheSame = (ledger: ImportLedger, held: Held, event: StoredEvent): boolean => {
  if (held.id === event.id || held.kind === 'gap' || event.type === tombstoneType) return true;
  if (held.kind !== 'metadata') return false;
  const wanted = withGapHidden(event, (stream) => ledger.firstAfterGap(stream));
  return isDeepStrictEqual(parseBounds(held.data ?? new Uint8Array()), parseBounds(wanted));
};

/** Whether the target has the event already. Throws when it has another one in its place. */
const isHeld = (ledger: ImportLedger, event: StoredEvent): boolean => {
  const { stream, revision } = event;
  const held = ledger.heldAt(stream, revision);
  if (!held) return false;
  if (!saysTheSame(ledger, held, event)) {
    throw new ImportRefused(
      `The target holds another event at ${stream} revision ${revision} than the files: its history is a different one. Nothing was imported; use an empty event store.`,
    );
  }
  ledger.matched(stream, revision);
  return true;
};

const compare = async (ledger: ImportLedger, files: FileSet, { onProgress }: ImportOptions): Promise<void> => {
  let events = 0;
  for await (const event of eventsOf(files)) {
    isHeld(ledger, event);
    events += 1;
    if (events % progressEvery === 0) onProgress?.({ phase: 'comparing', events, total: files.events });
  }
  const foreign = ledger.foreign();
  if (!foreign) return;
  throw new ImportRefused(
    `The target holds ${foreign.stream} revision ${foreign.revision}, which the files do not: what it holds is not the beginning of their history. Nothing was imported; use an empty event store.`,
  );
};

const write = async (
  { client, onProgress }: ImportOptions,
  { ledger, files, hadEvents }: Readonly<{ ledger: ImportLedger; files: FileSet; hadEvents: boolean }>,
  signal?: AbortSignal,
): Promise<ImportResult> => {
  const writer = new TargetWriter({ client, ledger, hadEvents });
  let events = 0;
  let present = 0;
  try {
    for await (const event of eventsOf(files)) {
      signal?.throwIfAborted();
      events += 1;
      if (hadEvents && isHeld(ledger, event)) present += 1;
      else await writer.add(event);
      if (events % progressEvery === 0) onProgress?.({ phase: 'importing', events, total: files.events });
    }
    await writer.flush();
  } finally {
    await writer.close();
  }
  onProgress?.({ phase: 'importing', events, total: files.events });
  return { events, present, written: events - present, gaps: writer.gaps };
};

/**
 * Brings the history of the files into the event store: same streams, revisions, ids and bytes, in the order of their log.
 * Every checksum is compared and the target looked through before anything is written. May be repeated at any time: what
 * the target holds is not written twice. Throws `EventFileDamaged` and `ImportRefused`.
 */
export const importEvents = async (options: ImportOptions, signal?: AbortSignal): Promise<ImportResult> => {
  const ledger = new ImportLedger();
  try {
    let checked = 0;
    const files = await checkFiles(options.files, (events) => {
      signal?.throwIfAborted();
      ledger.noteFile(events);
      checked += events.length;
      options.onProgress?.({ phase: 'checking', events: checked });
    });
    const { any: hadEvents, toCompare } = await readTarget(options, ledger, files, signal);
    if (toCompare) await compare(ledger, files, options);
    await options.onBegin?.();
    return await write(options, { ledger, files, hadEvents }, signal);
  } finally {
    ledger.close();
  }
};
