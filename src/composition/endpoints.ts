import type { Logger } from 'pino';
import { createAddRepository } from '#commands/add-repository.ts';
import { createAddVms } from '#commands/add-vms.ts';
import { createChangeVmwareCredential } from '#commands/change-vmware-credential.ts';
import { createChooseDefaultCredential } from '#commands/choose-default-credential.ts';
import { createCompleteDisk } from '#commands/complete-disk.ts';
import { createCreateVmwareCredential } from '#commands/create-vmware-credential.ts';
import { createDeleteBackup } from '#commands/delete-backup.ts';
import { createDeleteVmwareCredential } from '#commands/delete-vmware-credential.ts';
import { createDiscoverVms } from '#commands/discover-vms.ts';
import { createFindChangeId } from '#commands/find-change-id.ts';
import { createMeasureRepositories, type MeasureRepositories } from '#commands/measure-repositories.ts';
import { createRecordTelemetry } from '#commands/record-telemetry.ts';
import { createRemoveRepository } from '#commands/remove-repository.ts';
import type { RepositoryDirectory } from '#commands/repository-ports.ts';
import { createStartBackup } from '#commands/start-backup.ts';
import { createStorageMeter } from '#commands/storage-meter.ts';
import { createTestRepository } from '#commands/test-repository.ts';
import { createTestVmwareCredential } from '#commands/test-vmware-credential.ts';
import type { JobChangeFeed } from '#http/event-stream.ts';
import type { Endpoint } from '#http/route.ts';
import { auditEndpoints } from '#http/routes/audit.ts';
import { type AuthRoutesDeps, authEndpoints } from '#http/routes/auth.ts';
import { backupEndpoints } from '#http/routes/backups.ts';
import { discoveryEndpoints } from '#http/routes/discovery.ts';
import { eventStreamEndpoints } from '#http/routes/event-stream.ts';
import { type HealthSource, healthEndpoints } from '#http/routes/health.ts';
import { jobEndpoints } from '#http/routes/jobs.ts';
import { nbdEndpoints } from '#http/routes/nbd.ts';
import { repositoryEndpoints } from '#http/routes/repositories.ts';
import { telemetryEndpoints } from '#http/routes/telemetry.ts';
import { vmContextEndpoints } from '#http/routes/vm-contexts.ts';
import { vmwareCredentialEndpoints } from '#http/routes/vmware-credentials.ts';
import { auditQueries } from '#projections/audit.ts';
import type { HubAudit } from './audit.ts';
import { backupReaders, diskExports, diskRestores } from './disk-restores.ts';
import { explanationEndpoints } from './explanations.ts';
import { fileRestoreEndpoints } from './file-restore.ts';
import { fileVersions } from './file-versions.ts';
import { createJobWatch } from './job-watch.ts';
import type { Moments } from './moments.ts';
import type { Past } from './past.ts';
import type { LiveReadModel } from './read-model.ts';
import { readModelAdmin } from './read-model-admin.ts';
import { reportingJobsOf } from './reporting-jobs.ts';
import { restoredFiles } from './restored-files.ts';
import { clock, ids, type Services } from './services.ts';
import type { Stores } from './stores.ts';
import { withTimeTravel } from './time-travel.ts';

export type EndpointDeps = Readonly<{
  stores: Pick<Stores, 'store' | 'feed' | 'database' | 'postgres'>;
  services: Services;
  readModel: LiveReadModel;
  auth: AuthRoutesDeps;
  health: HealthSource;
  jobFeed: JobChangeFeed;
  version: string;
  log: Logger;
  moments: Moments<Past>;
  audit: Pick<HubAudit, 'verify' | 'position' | 'trail'>;
  /** In place of waiting until a process manager has brought a job there. */
  awaitJob?: ReturnType<typeof createJobWatch>;
  /** In place of measuring repositories now. */
  measured?: MeasureRepositories;
}>;

const ownWritePatienceMs = 5_000;

/** What repositories' use cases ask of the read model. */
export const repositoryDirectory = (
  deps: Pick<EndpointDeps, 'stores' | 'services' | 'readModel'>,
): RepositoryDirectory => {
  const { stores, services, readModel } = deps;
  const { repositories } = services.queries;
  return {
    list: () => repositories.list(),
    countBackups: repositories.countBackups,
    removing: repositories.removing,
    caughtUp: async () => readModel.runner.waitFor(await stores.feed.head(), ownWritePatienceMs),
  };
};

const inventoryEndpoints = (deps: EndpointDeps): readonly Endpoint[] => {
  const { services, readModel, log } = deps;
  const { store } = deps.stores;
  const { queries, logins, secrets, sna } = services;
  const { settled } = readModel;
  const discoverVms = createDiscoverVms({ logins, inventory: sna, managedVms: queries.vmContexts, clock });
  const lookups = queries.credentials;
  return [
    ...vmContextEndpoints({ vmContexts: queries.vmContexts, clock }),
    ...discoveryEndpoints({ discoverVms, addVms: createAddVms({ store, clock }), clock, log, settled }),
    ...vmwareCredentialEndpoints({
      credentials: queries.credentials,
      createCredential: createCreateVmwareCredential({ store, vault: secrets, lookups, clock, ids }),
      changeCredential: createChangeVmwareCredential({ store, vault: secrets, clock, ids }),
      deleteCredential: createDeleteVmwareCredential({ store, vault: secrets, lookups, clock }),
      chooseDefault: createChooseDefaultCredential({ store, clock }),
      testCredential: createTestVmwareCredential({ logins, inventory: sna, ids }),
      settled,
    }),
  ];
};

const storageEndpoints = (deps: EndpointDeps): readonly Endpoint[] => {
  const { services, readModel } = deps;
  const { store } = deps.stores;
  const directory = repositoryDirectory(deps);
  const meter = createStorageMeter(services.storage);
  const { storageNode } = services.pool;
  return repositoryEndpoints({
    repositories: services.queries.repositories,
    addRepository: createAddRepository({ store, clock, meter, paths: services.storage, storageNode }),
    removeRepository: createRemoveRepository({ store, clock, directory }),
    testRepository: createTestRepository({ store, clock, meter }),
    measureRepositories: deps.measured ?? createMeasureRepositories({ store, clock, meter, directory }),
    settled: readModel.settled,
  });
};

const protectionEndpoints = (deps: EndpointDeps): readonly Endpoint[] => {
  const { services, readModel } = deps;
  const { store } = deps.stores;
  const { queries, inventory, storage, leases, nbdExports, exporter, pool } = services;
  const { backups, vmContexts } = queries;
  const { now } = clock;
  const readers = backupReaders(deps);
  const awaitJob =
    deps.awaitJob ?? createJobWatch({ store, applied: readModel.applied, waitFor: readModel.runner.waitFor });
  return [
    ...backupEndpoints({
      ...{ backups, vmContexts, awaitJob, now, settled: readModel.settled },
      startBackup: createStartBackup({ store, clock, inventory, access: storage }),
      completeDisk: createCompleteDisk({ store, clock }),
      findChangeId: createFindChangeId({ store, inventory }),
      deleteBackup: createDeleteBackup({ store, clock, storageNode: pool.storageNode, readers }),
    }),
    ...nbdEndpoints({
      ...{ pool, leases, now },
      exports: { ...nbdExports, list: exporter.list, countConnections: exporter.countConnections },
    }),
    ...jobEndpoints({ store }),
  ];
};

/** What answers from the read models, and from those of a moment in the past as well. */
export const recordEndpoints = (deps: EndpointDeps): readonly Endpoint[] => [
  ...storageEndpoints(deps),
  ...inventoryEndpoints(deps),
  ...protectionEndpoints(deps),
  ...diskRestores(deps),
];

/** Reports are never asked of the past nor tried dry, and what is kept of reporting jobs listens to the log: built once. */
const reportEndpoints = (deps: EndpointDeps): readonly Endpoint[] => {
  const { stores, services, readModel } = deps;
  const { queries, inventory } = services;
  const jobs = reportingJobsOf(readModel);
  return telemetryEndpoints({
    recordTelemetry: createRecordTelemetry({ store: stores.store, clock, inventory, jobs }),
    ...{ backups: queries.backups, now: clock.now },
  });
};

/** Everything that the API serves. */
export const createEndpoints = (deps: EndpointDeps): readonly Endpoint[] => [
  ...authEndpoints(deps.auth),
  ...healthEndpoints({ health: deps.health, clock, version: deps.version, log: deps.log }),
  ...withTimeTravel(deps, recordEndpoints(deps), ({ queries, measured }) =>
    recordEndpoints({ ...deps, services: { ...deps.services, queries }, measured }),
  ),
  ...reportEndpoints(deps),
  ...auditEndpoints({
    ...{ audit: auditQueries(deps.stores.database.readModel), verify: deps.audit.verify },
    settled: () => deps.readModel.settled(deps.audit.position()),
  }),
  ...diskExports(deps),
  ...fileRestoreEndpoints(deps),
  ...fileVersions(deps),
  ...restoredFiles({ mounts: deps.services.mounts.holds, trail: deps.audit.trail, log: deps.log }),
  ...readModelAdmin(deps),
  ...explanationEndpoints(deps),
  ...eventStreamEndpoints({ feed: deps.jobFeed }),
];
