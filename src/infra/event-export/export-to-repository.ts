import { randomUUID } from 'node:crypto';
import { chmod, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { EventStoreDBClient } from '@eventstore/db-client';
import { makeFolder } from '../durable-file.ts';
import { ExportRefused, exportEvents } from '../event-transfer/export-events.ts';
import { newestBefore } from '../event-transfer/log-reader.ts';
import { exportFolderOf, findGenerations, type Generation, relationTo } from './generations.ts';
import { lastOf, type Manifest, nextChain, refText, type Segment, writeManifest } from './manifest.ts';
import { writePrivate } from './private-file.ts';
import type { VaultCopy } from './vault-copy.ts';

export type RepositoryExport = Readonly<{
  client: EventStoreDBClient;
  /** The repository's folder. */
  root: string;
  storageNode: string;
  /** Undefined: the hub has no key, and so no secrets. */
  vault: VaultCopy | undefined;
  now: () => string;
  /** After so many segments all is written anew, without what was truncated meanwhile. */
  maxSegments?: number;
}>;

export type RepositoryExportResult = Readonly<{
  generation: string;
  segments: number;
  /** New in this run. */
  events: number;
  lastPosition: bigint | undefined;
  /** What cannot be read, and what is left alone since it may be another hub's. */
  warnings: readonly string[];
}>;

// At one every five minutes, the events of more than a day.
const defaultMaxSegments = 500;

const segmentName = (index: number): string => `${String(index + 1).padStart(6, '0')}.events.zst`;

/** A time that sorts, whose it is, and what no other hub comes upon at the same moment. */
const newGenerationId = (now: string, storageNode: string): string =>
  `${now.slice(0, 19).replaceAll(':', '-')}Z-${storageNode}-${randomUUID().slice(0, 8)}`;

const isOf = (folder: string, storageNode: string): boolean =>
  basename(folder).slice(0, -9).endsWith(`Z-${storageNode}`);

const makePrivateFolder = async (path: string): Promise<void> => {
  await makeFolder(path);
  await chmod(path, 0o700);
};

/** Undefined when the log holds nothing that the generation lacks. */
const addSegment = async (
  { client, storageNode, now }: RepositoryExport,
  { folder, manifest }: Generation,
  signal?: AbortSignal,
): Promise<Segment | undefined> => {
  const after = lastOf(manifest);
  const newest = await newestBefore(client, 'end');
  if (!newest || (after && newest.position <= after.position)) return undefined;
  const file = segmentName(manifest.segments.length);
  const path = join(folder, file);
  const source = `hub of storage node ${storageNode}`;
  // Whole, but of a run that ended before it was noted.
  await rm(path, { force: true });
  const options = { client, path, source, now, ...(after && { after }) };
  const written = await exportEvents(options, signal).catch(async (error: unknown) => {
    // The first segment may be long, and is gone on with; what there is of the others is soon made again.
    if (!(error instanceof ExportRefused) && after) await rm(`${path}.partial`, { force: true });
    if (!(error instanceof ExportRefused)) throw error;
    // What a broken-off run of another log left in its place.
    await rm(`${path}.partial`, { force: true });
    return exportEvents(options, signal);
  });
  if (!written.last) return undefined;
  const { events, sizeBytes, hash, last } = written;
  const chain = nextChain(manifest.segments, hash);
  return { file, events, sizeBytes, hash, chain, last: refText(last), exportedAt: now() };
};

type VaultEntry = Manifest['vault'];

/** The file is written under a new name, so that the manifest always names one that is whole. */
const addVault = async ({ vault }: RepositoryExport, { folder, manifest }: Generation): Promise<VaultEntry> => {
  if (!vault) return manifest.vault;
  if (manifest.vault?.fingerprint === vault.fingerprint) return manifest.vault;
  const number = Number(/\d+/.exec(manifest.vault?.file ?? '0')?.[0]) + 1;
  const file = `vault-${number}.enc`;
  await writePrivate(join(folder, file), vault.encrypted);
  return { file, fingerprint: vault.fingerprint };
};

/** Adds what is new to a generation, and says so in its manifest last. */
const extend = async (options: RepositoryExport, generation: Generation, signal?: AbortSignal) => {
  const { folder, manifest } = generation;
  const segment = await addSegment(options, generation, signal);
  const vault = await addVault(options, generation);
  if (!segment && vault === manifest.vault) return { manifest, events: 0 };
  const segments = segment ? [...manifest.segments, segment] : manifest.segments;
  const extended: Manifest = { ...manifest, segments, vault, updatedAt: options.now() };
  await writeManifest(folder, extended);
  // A secret that was deleted must not be found here for longer than this.
  if (manifest.vault && manifest.vault.file !== vault?.file) {
    await rm(join(folder, manifest.vault.file), { force: true });
  }
  return { manifest: extended, events: segment?.events ?? 0 };
};

const begin = async (
  { root, now, storageNode }: RepositoryExport,
  unfinished: readonly string[],
  replaces: readonly string[],
): Promise<Generation> => {
  const startedAt = now();
  // What a crash left in the middle of a first segment is gone on with.
  const left = unfinished
    .filter((path) => isOf(path, storageNode))
    .toSorted()
    .at(-1);
  const folder = left ?? join(exportFolderOf(root), newGenerationId(startedAt, storageNode));
  await makePrivateFolder(folder);
  const generation = basename(folder);
  const manifest: Manifest = {
    ...{ format: 'sendense-event-export', version: 1, generation, storageNode, startedAt, updatedAt: startedAt },
    ...{ replaces: [...replaces], segments: [], vault: null },
  };
  return { folder, manifest };
};

const describeOthers = (others: readonly Generation[]): readonly string[] =>
  others.map(({ folder }) => `${folder} is an export of another history and is left alone`);

/**
 * Brings the repository's export up to the end of the log: new events become one more segment. An export of another log is
 * never gone on with and never removed; one that this log holds as a whole is, once a newer one is complete. May be
 * repeated after a crash at any point.
 */
export const exportToRepository = async (
  options: RepositoryExport,
  signal?: AbortSignal,
): Promise<RepositoryExportResult> => {
  const { client, root, maxSegments = defaultMaxSegments } = options;
  await makePrivateFolder(exportFolderOf(root));
  const found = await findGenerations(root);
  const related = await Promise.all(
    found.complete.map(async (generation) => ({ generation, relation: await relationTo(client, generation) })),
  );
  const ours = related.filter(({ relation }) => relation !== 'other').map(({ generation }) => generation);
  const current = related.find(
    ({ generation, relation }) => relation === 'same' && generation.manifest.segments.length < maxSegments,
  )?.generation;
  const replaces = ours.map(({ manifest }) => manifest.generation);
  const target = current ?? (await begin(options, found.unfinished, replaces));
  const { manifest, events } = await extend(options, target, signal);
  const superseded = ours.filter(({ folder }) => folder !== target.folder);
  if (manifest.segments.length > 0) {
    for (const { folder } of superseded) await rm(folder, { recursive: true, force: true });
  }
  const others = found.complete.filter((generation) => !ours.includes(generation));
  return {
    generation: manifest.generation,
    ...{ segments: manifest.segments.length, events, lastPosition: lastOf(manifest)?.position },
    warnings: [...found.problems.map(({ message }) => message), ...describeOthers(others)],
  };
};
