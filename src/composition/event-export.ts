import type { Logger } from 'pino';
import type { Config } from '#infra/config.ts';
import { exportToRepository, type RepositoryExport } from '#infra/event-export/export-to-repository.ts';
import { copyVault, readVault } from '#infra/event-export/vault-copy.ts';
import { closeClient } from '#infra/event-transfer/client-calls.ts';
import { loadOrMakeKey } from '#infra/vault/key-file.ts';
import type { Services } from './services.ts';
import { clock } from './services.ts';
import type { Stores } from './stores.ts';

export type EventExportStatus = Readonly<{
  /** As it is named in the settings; null: no export is set up. */
  repository: string | null;
  /** Of this hub, since it started. */
  lastSuccessAt: string | null;
  /** Up to where the log is in the repository. */
  lastPosition: string | null;
  segments: number | null;
  /** Why the last try failed; null when it did not. */
  problem: string | null;
}>;

export type EventExport = Readonly<{
  /** Brings the repository up to date; does nothing without a repository. One at a time. Throws what is in its way. */
  run: (signal: AbortSignal) => Promise<void>;
  /** The last events before an orderly stop, within a few seconds; never throws. */
  finish: () => Promise<void>;
  status: () => EventExportStatus;
  /** As one of the hub's workers; none without a repository. */
  health: () => readonly Readonly<{ name: string; running: boolean; openJobs: number }>[];
}>;

type Deps = Readonly<{
  stores: Stores;
  services: Pick<Services, 'queries' | 'storage'>;
  config: Pick<Config, 'eventExport' | 'nodeName' | 'vault'>;
  log: Logger;
}>;

const finishPatienceMs = 5_000;

const findRoot = async ({ services }: Deps, wanted: string): Promise<string> => {
  const repositories = await services.queries.repositories.list({ enabled: true });
  const found = repositories.find(({ repositoryId, name }) => repositoryId === wanted || name === wanted);
  if (!found) throw new Error(`SENDENSE_EVENT_EXPORT_REPOSITORY names ${wanted}, which is no enabled repository.`);
  return found.path;
};

/** Exports the history and the encrypted vault into a repository, so that a lost hub comes back from there. */
export const createEventExport = (deps: Deps): EventExport => {
  const { stores, services, config, log } = deps;
  const { repository } = config.eventExport;
  let status: EventExportStatus = {
    ...{ repository: repository ?? null, lastSuccessAt: null, lastPosition: null, segments: null, problem: null },
  };
  let told: string | undefined;

  const copyOfVault = async () => {
    const { secretKey, keyFile } = config.vault;
    const key = secretKey ? Buffer.from(secretKey) : await loadOrMakeKey(keyFile);
    return copyVault(await readVault(stores.database.vault), key);
  };

  const exportWith = async (options: Omit<RepositoryExport, 'client'>, signal: AbortSignal) => {
    const client = stores.connectEventStore();
    try {
      return await exportToRepository({ client, ...options }, signal);
    } finally {
      await closeClient(client);
    }
  };

  const exportTo = async (wanted: string, signal: AbortSignal): Promise<void> => {
    const root = await findRoot(deps, wanted);
    // It ends in time also on a share that hangs, so that nothing after it waits for ever.
    await services.storage.assertWritable(root);
    const vault = await copyOfVault();
    const result = await exportWith({ root, storageNode: config.nodeName, vault, now: clock.now }, signal);
    const { segments, events, lastPosition, generation, warnings } = result;
    const position = lastPosition === undefined ? null : String(lastPosition);
    status = { ...status, lastSuccessAt: clock.now(), lastPosition: position, segments, problem: null };
    if (events > 0) log.debug({ events, generation, position }, 'events exported');
    // Once, not every few minutes.
    if (warnings.length > 0 && told !== warnings.join()) log.warn({ warnings }, 'in the folder of exported events');
    told = warnings.join();
  };

  let running: Promise<void> = Promise.resolve();

  const attempt = async (wanted: string, signal: AbortSignal): Promise<void> => {
    try {
      await exportTo(wanted, signal);
    } catch (error) {
      if (signal.aborted) return;
      status = { ...status, problem: error instanceof Error ? error.message : String(error) };
      throw error;
    }
  };

  const run = async (signal: AbortSignal): Promise<void> => {
    if (repository === undefined) return;
    const before = running;
    running = (async () => {
      await before.catch(() => undefined);
      await attempt(repository, signal);
    })();
    await running;
  };

  return {
    run,
    finish: () =>
      run(AbortSignal.timeout(finishPatienceMs)).catch((error: unknown) =>
        log.warn({ err: error }, 'the last events were not exported at the stop'),
      ),
    status: () => status,
    health: () =>
      repository === undefined ? [] : [{ name: 'event-export', running: status.problem === null, openJobs: 0 }],
  };
};
