import { mkdir } from 'node:fs/promises';
import type { Config } from '#infra/config.ts';
import { lockDataDir } from '#infra/data-dir-lock.ts';
import type { Generation } from '#infra/event-export/generations.ts';
import { readIfThere, writePrivate } from '#infra/event-export/private-file.ts';
import { chooseGeneration, filesOf, RestoreRefused, readKey, vaultOf } from '#infra/event-export/restore-plan.ts';
import { restoreVault, type VaultContent } from '#infra/event-export/vault-copy.ts';
import { closeClient } from '#infra/event-transfer/client-calls.ts';
import type { ImportOptions, ImportResult } from '#infra/event-transfer/import-events.ts';
import { createLogger } from '#infra/logger.ts';
import { openStores } from '../stores.ts';
import { importAudited } from './audited-import.ts';

export type RestoreOptions = Readonly<{
  /** The repository's folder. */
  root: string;
  generation: string | undefined;
  keyFile: string | undefined;
  withoutSecrets: boolean;
}>;

export type RestoreResult = ImportResult & Readonly<{ generation: string; storage_node: string; secrets: number }>;

/** The hub's key: of the settings, of the file that is named, or of the data directory. */
const keyFor = async ({ vault }: Config, { keyFile }: RestoreOptions): Promise<Buffer | undefined> => {
  if (vault.secretKey) return Buffer.from(vault.secretKey);
  const here = (await readIfThere(vault.keyFile)) === undefined ? undefined : await readKey(vault.keyFile);
  if (keyFile === undefined) return here;
  const given = await readKey(keyFile);
  if (here && !here.equals(given)) {
    throw new RestoreRefused(`${vault.keyFile} holds another key than ${keyFile}. Use an empty data directory.`);
  }
  return given;
};

type Secrets = Readonly<{ key: Buffer; content: VaultContent }>;

const secretsOf = async (
  config: Config,
  options: RestoreOptions,
  generation: Generation,
): Promise<Secrets | undefined> => {
  if (options.withoutSecrets || !generation.manifest.vault) return undefined;
  const key = await keyFor(config, options);
  if (!key) {
    throw new RestoreRefused(
      "The export holds secrets, which need the key of the lost hub: give it with --key-file FILE or SENDENSE_SECRET_KEY. With --without-secrets every login's password has to be entered anew.",
    );
  }
  const content = await vaultOf(generation, key);
  return content && { key, content };
};

const restore = async (
  config: Config,
  { root, generation, secrets }: Readonly<{ root: string; generation: Generation; secrets: Secrets | undefined }>,
  onProgress: NonNullable<ImportOptions['onProgress']>,
  signal: AbortSignal,
): Promise<RestoreResult> => {
  const stores = await openStores(config, createLogger({ level: 'error' }), signal);
  const client = stores.connectEventStore();
  try {
    const { generation: name, storageNode } = generation.manifest;
    const afterEvents = async (): Promise<void> => {
      if (!secrets) return;
      if (!config.vault.secretKey) await writePrivate(config.vault.keyFile, `${secrets.key.toString('base64')}\n`);
      await restoreVault(stores.database.vault, secrets.content);
    };
    const imported = await importAudited(
      {
        ...{ client, dataDir: config.dataDir, files: filesOf(generation), what: `from ${generation.folder}` },
        ...{ facts: { source: root, generation: name }, onProgress, afterEvents },
      },
      signal,
    );
    return {
      ...imported,
      ...{ generation: name, storage_node: storageNode, secrets: secrets?.content.secrets.length ?? 0 },
    };
  } finally {
    await closeClient(client);
    await stores.close();
  }
};

/**
 * Brings a lost hub back from what it exported into a repository: its history, its secrets and the administrator's
 * password. Everything is checked before the first byte is written; may be repeated. Throws `RestoreRefused`.
 */
export const restoreHub = async (
  config: Config,
  options: RestoreOptions,
  onProgress: NonNullable<ImportOptions['onProgress']>,
  signal: AbortSignal,
): Promise<RestoreResult> => {
  const generation = await chooseGeneration(options.root, options.generation);
  const secrets = await secretsOf(config, options, generation);
  await mkdir(config.dataDir, { recursive: true, mode: 0o750 });
  const lock = lockDataDir(config.dataDir, 'sendense events');
  try {
    return await restore(config, { root: options.root, generation, secrets }, onProgress, signal);
  } finally {
    lock.release();
  }
};
