import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { EventStoreDBClient } from '@eventstore/db-client';
import type { MarkFound } from '#projections/ports.ts';
import { errnoOf } from '../durable-file.ts';
import { findMark } from '../event-store/log-identity.ts';
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

/** An event that was removed says nothing; the one before it may. */
const relationOf: Readonly<Record<MarkFound, Relation | undefined>> = {
  ...{ there: 'same', elsewhere: 'contained', absent: 'other', removed: undefined, replaced: undefined },
};

export const relationTo = async (client: EventStoreDBClient, { manifest }: Generation): Promise<Relation> => {
  for (const { last } of manifest.segments.slice(-anchorsLookedAt).reverse()) {
    const relation = relationOf[await findMark(client, refOfText(last))];
    if (relation) return relation;
  }
  return 'other';
};
