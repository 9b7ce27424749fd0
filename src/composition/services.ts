import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { BackupInventory } from '#commands/backup-ports.ts';
import { createCredentialLogins } from '#commands/credential-login.ts';
import { createNbdLeases } from '#commands/nbd-leases.ts';
import { createOpenExports } from '#commands/open-exports.ts';
import type { Clock, Ids } from '#commands/ports.ts';
import { DomainError } from '#domain/errors.ts';
import type { Config } from '#infra/config.ts';
import { probeDiskIo } from '#infra/disk-io.ts';
import { createDiskImages } from '#infra/qemu/disk-images.ts';
import { createDiskReader } from '#infra/qemu/disk-reader.ts';
import { createPortProbe } from '#infra/qemu/port-probe.ts';
import { createQemuNbd } from '#infra/qemu/qemu-nbd.ts';
import { createWorkingFolders } from '#infra/qemu/working-folders.ts';
import { createRepositoryStorage, type RepositoryStorage } from '#infra/repository-storage.ts';
import { createSideFiles } from '#infra/side-files.ts';
import { createSnaClient } from '#infra/sna-client.ts';
import type { Fetch } from '#infra/sna-request.ts';
import { createCredentialVault } from '#infra/vault/credential-vault.ts';
import { loadOrMakeKey } from '#infra/vault/key-file.ts';
import { createSecretVault } from '#infra/vault/secret-vault.ts';
import { occupiedPorts } from '#process-managers/backup-runner/start-steps.ts';
import { createNbdExports } from '#process-managers/nbd-exports.ts';
import { backupQueries } from '#projections/backup-queries.ts';
import { repositoryQueries } from '#projections/repositories.ts';
import { vmContextQueries } from '#projections/vm-contexts.ts';
import { credentialQueries } from '#projections/vmware-credentials.ts';
import { createMountServices } from './mount-services.ts';
import { restoreTargetsOf } from './restore-targets.ts';
import type { Stores } from './stores.ts';

export const clock: Clock = { now: () => new Date().toISOString() };
export const ids: Ids = { uuid: () => randomUUID() };

type Queries = ReturnType<typeof createQueries>;

export const createQueries = ({ readModel }: Pick<Stores['database'], 'readModel'>) => ({
  backups: backupQueries(readModel),
  repositories: repositoryQueries(readModel),
  vmContexts: vmContextQueries(readModel),
  credentials: credentialQueries(readModel),
});

/** The client names a VM as it sees it: by its name, else by the last part of its inventory path. */
const inventoryOf = ({ backups, vmContexts, credentials }: Queries): BackupInventory => ({
  vmContextIdsNamed: async (vmName) => (await vmContexts.findByNameOrPath(vmName)).map((row) => row.context_id),
  jobOfDisk: backups.jobOfDisk,
  credentialExists: credentials.isUsable,
});

/** An image that the API may serve: it exists, inside a repository that is switched on, whatever links say. */
const imageResolver =
  ({ repositories }: Queries, storage: RepositoryStorage) =>
  async (path: string): Promise<string> => {
    for (const { path: root } of await repositories.list({ enabled: true })) {
      if (!path.startsWith(`${root}/`)) continue;
      if (!(await storage.imageExists(path))) {
        throw new DomainError('image-not-found', `there is no image ${path}`, { path });
      }
      return storage.resolveInside(root, path).catch((cause: unknown) => {
        throw new DomainError('image-outside-repositories', `${path} leads out of its repository`, { path }, { cause });
      });
    }
    throw new DomainError('image-outside-repositories', `${path} is not in an enabled repository`, { path });
  };

/** Each reads a chain of images at the speed of the disk: more at once are slower together. */
const maxExports = 4;

/** How long the file of a qcow2 export stays after its last reader, for one that broke off and goes on. */
const exportLingerMs = 60_000;

export type Services = Awaited<ReturnType<typeof createServices>>;

/** All adapters and what is built from them alone; nothing runs yet. */
export const createServices = async (config: Config, stores: Stores, log: Logger, fetch?: Fetch) => {
  const { store } = stores;
  const queries = createQueries(stores.database);
  const storage = createRepositoryStorage();
  const [key, { aio }] = await Promise.all([
    config.vault.secretKey ? Buffer.from(config.vault.secretKey) : loadOrMakeKey(config.vault.keyFile),
    probeDiskIo(config.dataDir),
  ]);
  const secrets = createSecretVault({ db: stores.database.vault, key });
  const logins = createCredentialLogins({ store, vault: secrets, clock });
  const exporter = createQemuNbd({
    runtimeDir: join(config.dataDir, 'exports'),
    bindAddress: config.nbd.bindHost,
    aio,
    log: log.child({ part: 'qemu-nbd' }),
  });
  const probe = createPortProbe(config.nbd.bindHost);
  const pool = { storageNode: config.nodeName, first: config.nbd.firstPort, last: config.nbd.lastPort };
  const leases = createNbdLeases({
    ...{ store, clock, pool },
    occupiedPorts: (leased, wanted) => occupiedPorts({ probe, pool }, leased, wanted),
    servedPorts: async () => new Set((await exporter.list()).map(({ port }) => port)),
  });
  const resolveImage = imageResolver(queries, storage);
  const folders = createWorkingFolders(join(config.dataDir, 'disk-copies'));
  await folders.clear();
  return {
    ...{ queries, storage, secrets, logins, exporter, probe, pool, leases, resolveImage },
    images: createDiskImages(),
    folders,
    restoreTargets: restoreTargetsOf(config, queries.repositories),
    diskReader: createDiskReader({ folders, lingerMs: exportLingerMs }),
    openExports: createOpenExports(maxExports),
    sideFiles: createSideFiles(),
    sna: createSnaClient({ baseUrl: config.sna.url, ...(fetch ? { fetch } : {}) }),
    vault: createCredentialVault(logins),
    nbdExports: createNbdExports({ store, clock, exporter, leases, resolveImage }),
    inventory: inventoryOf(queries),
    mounts: createMountServices({ config, store, clock, ids, log: log.child({ part: 'mounts' }) }),
  };
};
