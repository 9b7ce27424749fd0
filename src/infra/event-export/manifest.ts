import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { z } from 'zod';
import type { EventRef } from '../event-transfer/stored-event.ts';
import { readIfThere, writePrivate } from './private-file.ts';

/** Below a repository's folder. */
export const exportFolder = join('.sendense', 'events');

const Ref = z.object({ stream: z.string(), revision: z.string(), position: z.string(), id: z.string() });

const Segment = z.object({
  file: z.string().regex(/^\d+\.events\.zst$/),
  events: z.number().int().nonnegative(),
  sizeBytes: z.number().int().nonnegative(),
  /** Of the file's last block; a block's hash covers all before it. */
  hash: z.string(),
  /** SHA-256 of the segment before and this one's hash. */
  chain: z.string(),
  last: Ref,
  exportedAt: z.string(),
});

/** What a generation consists of; only what stands here counts. */
export const Manifest = z.object({
  format: z.literal('sendense-event-export'),
  version: z.literal(1),
  generation: z.string(),
  /** The hub's storage node, for the people who choose. */
  storageNode: z.string(),
  startedAt: z.string(),
  updatedAt: z.string(),
  /** Generations whose whole history this one holds as well. */
  replaces: z.array(z.string()),
  segments: z.array(Segment),
  /** Encrypted secrets; `fingerprint` tells whether they changed, to who has the key. */
  vault: z.object({ file: z.string().regex(/^vault-\d+\.enc$/), fingerprint: z.string() }).nullable(),
});

export type Manifest = z.output<typeof Manifest>;
export type Segment = z.output<typeof Segment>;

const manifestName = 'manifest.json';

export const nextChain = (segments: readonly Segment[], hash: string): string =>
  createHash('sha256')
    .update(`${segments.at(-1)?.chain ?? ''}\n${hash}`)
    .digest('hex');

/** Whether the list of segments is the one that was written. */
export const isChained = ({ segments }: Manifest): boolean =>
  segments.every(({ hash, chain }, index) => chain === nextChain(segments.slice(0, index), hash));

export const lastOf = ({ segments }: Manifest): EventRef | undefined => {
  const last = segments.at(-1)?.last;
  return last && refOfText(last);
};

export const refOfText = ({ stream, revision, position, id }: z.output<typeof Ref>): EventRef => ({
  ...{ stream, id, revision: BigInt(revision), position: BigInt(position) },
});

export const refText = ({ stream, revision, position, id }: EventRef): z.output<typeof Ref> => ({
  ...{ stream, id, revision: String(revision), position: String(position) },
});

export const writeManifest = (folder: string, manifest: Manifest): Promise<void> =>
  writePrivate(join(folder, manifestName), `${JSON.stringify(manifest, null, 1)}\n`);

/** Undefined where none is; throws for one that cannot be read. */
export const readManifest = async (folder: string): Promise<Manifest | undefined> => {
  const text = await readIfThere(join(folder, manifestName));
  if (text === undefined) return undefined;
  try {
    return Manifest.parse(JSON.parse(text));
  } catch (cause) {
    throw new Error(`${join(folder, manifestName)} cannot be read: it is damaged, or of a newer version.`, { cause });
  }
};
