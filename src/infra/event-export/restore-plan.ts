import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { KnownFile } from '../event-transfer/file-set.ts';
import { Undecipherable } from '../vault/cipher.ts';
import { exportFolderOf, findGenerations, type Generation } from './generations.ts';
import { isChained, type Manifest } from './manifest.ts';
import { readIfThere } from './private-file.ts';
import { openVaultCopy, type VaultContent } from './vault-copy.ts';

/** What the operator can mend; told in its sentence. */
export class RestoreRefused extends Error {
  override readonly name = 'RestoreRefused';
}

const eventsIn = ({ segments }: Manifest): number => segments.reduce((sum, { events }) => sum + events, 0);

const describe = ({ manifest }: Generation): string => {
  const { generation, storageNode, updatedAt, startedAt } = manifest;
  return `  ${generation}: ${eventsIn(manifest)} events of the hub on ${storageNode}, from ${startedAt} to ${updatedAt}`;
};

/** Of those that are not contained in another; several only if several hubs have exported here. */
const candidates = (complete: readonly Generation[]): readonly Generation[] => {
  const written = complete.filter(({ manifest }) => manifest.segments.length > 0);
  const replaced = new Set(written.flatMap(({ manifest }) => manifest.replaces));
  return written.filter(({ manifest }) => !replaced.has(manifest.generation));
};

/** The one to restore from: the only one, or the one that is named. Throws `RestoreRefused`. */
export const chooseGeneration = async (root: string, wanted: string | undefined): Promise<Generation> => {
  const { complete, problems } = await findGenerations(root);
  const named = complete.find(({ manifest }) => manifest.generation === wanted);
  const possible = wanted === undefined ? candidates(complete) : named ? [named] : [];
  const [only, ...more] = possible;
  if (!only) {
    const reasons = problems.map(({ message }) => ` ${message}`).join('');
    const what = wanted === undefined ? 'no export of a hub' : `no export ${wanted}`;
    throw new RestoreRefused(`There is ${what} in ${exportFolderOf(root)}.${reasons}`);
  }
  if (more.length > 0) {
    throw new RestoreRefused(
      `Several histories were exported to ${root}. Name one with --generation:\n${possible.map(describe).join('\n')}`,
    );
  }
  if (!isChained(only.manifest)) {
    throw new RestoreRefused(`The manifest of ${only.folder} was changed: its segments do not follow one another.`);
  }
  return only;
};

/** In their order, each with the hash that the manifest notes. */
export const filesOf = ({ folder, manifest }: Generation): readonly KnownFile[] =>
  manifest.segments.map(({ file, hash }) => ({ path: join(folder, file), hash }));

/** The secrets of a generation; undefined when it has none. Throws `RestoreRefused`. */
export const vaultOf = async ({ folder, manifest }: Generation, key: Buffer): Promise<VaultContent | undefined> => {
  if (!manifest.vault) return undefined;
  const path = join(folder, manifest.vault.file);
  const encrypted = await readIfThere(path);
  if (encrypted === undefined) {
    throw new RestoreRefused(`${path} is missing. With --without-secrets the hub is restored without passwords.`);
  }
  try {
    return openVaultCopy(encrypted, key);
  } catch (cause) {
    if (!(cause instanceof Undecipherable)) throw cause;
    throw new RestoreRefused(
      `${path} cannot be read with this key: it is another hub's, or the file is damaged. With --without-secrets the hub is restored without passwords.`,
      { cause },
    );
  }
};

const keyBytes = 32;

/** Throws `RestoreRefused` when the file is missing or is no key. */
export const readKey = async (path: string): Promise<Buffer> => {
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    throw new RestoreRefused(`The key file ${path} cannot be read.`, { cause });
  });
  const key = Buffer.from(text.trim(), 'base64');
  if (key.length !== keyBytes) throw new RestoreRefused(`The file ${path} does not hold a hub's key.`);
  return key;
};
