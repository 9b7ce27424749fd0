import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import {
  BACKWARDS,
  END,
  type EventStoreDBClient,
  StreamDeletedError,
  StreamNotFoundError,
} from '@eventstore/db-client';
import { errnoOf } from '../durable-file.ts';
import { eventAt } from '../event-transfer/log-reader.ts';
import type { EventRef } from '../event-transfer/stored-event.ts';
import { exportFolder, type Manifest, readManifest, refOfText } from './manifest.ts';

export type Generation = Readonly<{ folder: string; manifest: Manifest }>;

export type FoundGenerations = Readonly<{
  /** Newest first. */
  complete: readonly Generation[];
  /** Begun, without a manifest: a crash left them, or another hub works there. */
  unfinished: readonly string[];
  problems: readonly Error[];
}>;

export const exportFolderOf = (root: string): string => join(root, exportFolder);

const foldersIn = async (path: string): Promise<readonly string[]> => {
  try {
    const entries = await readdir(path, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => join(path, name));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
};

/** What lies in a repository; a generation that cannot be read is a problem and hides none of the others. */
export const findGenerations = async (root: string): Promise<FoundGenerations> => {
  const complete: Generation[] = [];
  const unfinished: string[] = [];
  const problems: Error[] = [];
  for (const folder of await foldersIn(exportFolderOf(root))) {
    try {
      const manifest = await readManifest(folder);
      if (manifest) complete.push({ folder, manifest });
      else unfinished.push(folder);
    } catch (error) {
      problems.push(error as Error);
    }
  }
  const newestFirst = (a: Generation, b: Generation) => b.manifest.updatedAt.localeCompare(a.manifest.updatedAt);
  return { complete: complete.sort(newestFirst), unfinished, problems };
};

/**
 * How a generation relates to a log. `same`: it is an export of this very log, and can be gone on with. `contained`: the log
 * holds all of it, but numbers its positions differently: it was restored from it. `other`: neither is certain.
 */
export type Relation = 'same' | 'contained' | 'other';

const anchorsLookedAt = 20;

type InStream = 'there' | 'gone' | 'absent';

/** `gone`: the stream went past that revision, and the event was truncated since. */
const lookInStream = async (client: EventStoreDBClient, { stream, revision, id }: EventRef): Promise<InStream> => {
  let found: InStream = 'absent';
  try {
    for await (const { event } of client.readStream(stream, { direction: BACKWARDS, fromRevision: END, maxCount: 1 })) {
      if (event && event.revision >= revision) found = 'gone';
    }
    for await (const { event } of client.readStream(stream, { fromRevision: revision, maxCount: 1 })) {
      if (event?.revision === revision) found = event.id === id ? 'there' : 'absent';
    }
  } catch (error) {
    if (!(error instanceof StreamNotFoundError || error instanceof StreamDeletedError)) throw error;
  }
  return found;
};

export const relationTo = async (client: EventStoreDBClient, { manifest }: Generation): Promise<Relation> => {
  for (const { last } of manifest.segments.slice(-anchorsLookedAt).reverse()) {
    const anchor = refOfText(last);
    if ((await eventAt(client, anchor.position))?.id === anchor.id) return 'same';
    const found = await lookInStream(client, anchor);
    if (found === 'there') return 'contained';
    if (found === 'absent') return 'other';
  }
  return 'other';
};
