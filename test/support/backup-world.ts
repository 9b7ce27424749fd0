import { randomUUID } from 'node:crypto';
import type { RepositoryAccess } from '#commands/backup-ports.ts';
import { createBackupReaders } from '#commands/backup-readers.ts';
import { createCompleteDisk } from '#commands/complete-disk.ts';
import { createDeleteBackup } from '#commands/delete-backup.ts';
import type { OpenDiskRestore } from '#commands/disk-restore-ports.ts';
import { createFindChangeId } from '#commands/find-change-id.ts';
import { load } from '#commands/handle.ts';
import { createOpenExports } from '#commands/open-exports.ts';
import type { CommandContext, EventStore } from '#commands/ports.ts';
import { createRecordTelemetry } from '#commands/record-telemetry.ts';
import { createStartBackup, type StartBackupInput } from '#commands/start-backup.ts';
import { backupDecider } from '#domain/backup/decide.ts';
import { diskBackupIdOf } from '#domain/backup/ids.ts';
import type { KnownBackup } from '#domain/backup/state.ts';
import { nbdPortsDecider } from '#domain/nbd-ports/nbd-ports.ts';
import type { RepositoryAdded } from '#domain/repository/repository.ts';
import { restorePointsDecider } from '#domain/restore-points/decide.ts';
import { streamOf } from '#domain/streams.ts';
import type { Report } from '#domain/telemetry/decide.ts';
import type { VmContextEvent, VmDisk } from '#domain/vm-context/vm-context.ts';
import type { BackupRunnerDeps } from '#process-managers/backup-runner/deps.ts';
import { settle } from '#process-managers/backup-runner/perform.ts';
import { PermanentFailure } from '#process-managers/ports.ts';
import { at, gib, repositoryId, rootPath, vmContextId } from './backup-facts.ts';
import { createFakeBackupNode } from './fake-backup-node.ts';
import { createFakeDiskImages } from './fake-disk-images.ts';
import { createFakeEventStore } from './fake-event-store.ts';
import { createFakeExporter } from './fake-exporter.ts';

export const context = (correlationId = 'test'): CommandContext => ({
  ...{ actor: 'user:admin', correlationId, commandId: randomUUID() },
});

const never = new AbortController().signal;

export const vmDisk = (key: number, capacityBytes: number): VmDisk => ({
  ...{ diskId: `disk-${key}`, capacityBytes, sizeGb: Math.ceil(capacityBytes / gib), unitNumber: 0 },
  ...{ vmdkPath: `[ds1] pgtest1/${key}.vmdk`, datastore: 'ds1', label: 'Hard disk', provisioningType: 'thin' },
});

export const report = (over: Partial<Report> = {}): Report => ({
  ...{ status: 'running', phase: 'transferring', bytesTransferred: 0, totalBytes: 0, speedBps: 0, etaSeconds: 0 },
  ...{ percent: 0, disks: [], error: null, timestamp: null },
  ...over,
});

const pool = { storageNode: 'hub-1', first: 10100, last: 10200 };

/** A hub's backup core on fakes: the commands that clients call, and the process manager behind them. */
export const createBackupWorld = () => {
  const store = createFakeEventStore();
  const [images, exporter, node] = [createFakeDiskImages(), createFakeExporter(), createFakeBackupNode()];
  let seconds = 0;
  const clock = { now: () => at(seconds) };
  const secrets = new Map([[7, { vcenterHost: 'vc.lab', username: 'backup', password: 'secret' }]]);
  const vault = {
    loginOf: async (id: number) => {
      const login = secrets.get(id);
      if (login) return login;
      throw new PermanentFailure('the password of this credential is gone');
    },
  };
  const vmsByName = new Map<string, string[]>();
  const diskJobs = () =>
    store.log.flatMap(({ event }) =>
      event.type === 'BackupStarted'
        ? [event.data as { backupId: string; disks: readonly { index: number; imagePath: string }[] }]
        : [],
    );
  const inventory = {
    vmContextIdsNamed: async (name: string) => vmsByName.get(name) ?? [],
    jobOfDisk: async (id: string) =>
      diskJobs()
        .flatMap(({ backupId, disks }) =>
          disks.map((disk) => ({ backupId, diskIndex: disk.index, id: diskBackupIdOf(disk.imagePath) })),
        )
        .find((candidate) => candidate.id === id),
    credentialExists: async (id: number) => secrets.has(id),
  };
  const access: RepositoryAccess = { imageExists: images.exists, assertWritable: async () => undefined };
  const openExports = createOpenExports(4);
  const openRestores: OpenDiskRestore[] = [];
  const readers = createBackupReaders({ restores: { open: async () => openRestores }, exports: openExports });
  const commandDeps = { store, clock, inventory, access };
  const deps: BackupRunnerDeps = {
    ...{ store, clock, ids: { uuid: randomUUID }, images, exporter, probe: exporter.probe },
    ...{ sideFiles: images.sideFiles, node, vault, pool },
  };

  const write = async (stream: string, ...events: readonly { type: string; data: object }[]) => {
    const { revision } = await store.read(stream);
    await store.append(stream, events, revision, context());
  };
  const addRepository = (id = repositoryId, path = rootPath, enabled = true): Promise<void> => {
    const added: RepositoryAdded = {
      type: 'RepositoryAdded',
      data: {
        ...{ repositoryId: id, at: at(), name: id, type: 'local', enabled, storageNode: 'hub-1' },
        config: { path, autoMount: false, mountOptions: '', description: '' },
        storage: { totalBytes: 1, usedBytes: 0, availableBytes: 1 },
      },
    };
    return write(streamOf.repository(id), added);
  };
  const addVm = async (over: Partial<Extract<VmContextEvent, { type: 'VmAdded' }>['data']> = {}): Promise<void> => {
    const data = {
      ...{ contextId: vmContextId, vmName: 'pgtest1', vmwareVmId: 'vm-1', vmPath: '/DC1/vm/pgtest1' },
      ...{ vcenterHost: 'vc.lab', datacenter: 'DC1', osType: 'linux', cpuCount: 2, memoryMb: 4096 },
      ...{ powerState: 'poweredOn', vmToolsVersion: null, credentialId: 7, addedBy: 'user:admin', at: at() },
      disks: [vmDisk(2000, 102 * gib), vmDisk(2001, 5 * gib)],
      ...over,
    };
    vmsByName.set(data.vmName, [...(vmsByName.get(data.vmName) ?? []), data.contextId]);
    await write(streamOf.vmContext(data.contextId), { type: 'VmAdded', data });
  };

  const jobOf = async (backupId: string): Promise<KnownBackup> => {
    const { state } = await load(store, backupDecider, streamOf.backup(backupId));
    if (state.status === 'none') throw new Error(`${backupId} is unknown`);
    return state;
  };
  const startCommand = createStartBackup(commandDeps);
  const start = async (over: Partial<StartBackupInput> = {}): Promise<string> => {
    const input = { vmName: 'pgtest1', repositoryId, backupType: 'full' as const, tags: {}, ...over };
    return (await startCommand(input, context, undefined)).backupId;
  };
  const settleWith = (over: Partial<BackupRunnerDeps>, backupId: string, signal: AbortSignal = never): Promise<void> =>
    settle(backupId, { ...deps, ...over }, undefined, signal);
  const telemetry = (jobId: string, over: Partial<Report> = {}) =>
    createRecordTelemetry(commandDeps)({ jobId, report: report(over), fingerprint: randomUUID() }, context(jobId));
  const completeDisk = (backupId: string, diskIndex: number, changeId: string, bytesTransferred = 0) =>
    createCompleteDisk(commandDeps)({ backupId, diskIndex, changeId, bytesTransferred }, context(backupId));

  /** A client that has copied both disks and says so. */
  const copyAll = async (backupId: string, round = 1): Promise<void> => {
    for (const { index, imagePath } of (await jobOf(backupId)).disks) {
      const image = images.files.get(imagePath);
      if (image) image.actualSizeBytes = (index + 1) * gib;
      await completeDisk(backupId, index, `epoch-${index}/${round}`);
    }
    node.clients.delete(backupId);
  };

  return {
    ...{ store, images, exporter, node, secrets, clock, deps, commandDeps, access, pool },
    ...{ addRepository, addVm, startCommand, start, telemetry, completeDisk, copyAll, jobOf, settleWith },
    settle: (backupId: string) => settleWith({}, backupId),
    remove: (backupId: string) =>
      createDeleteBackup({ ...commandDeps, storageNode: pool.storageNode, readers })(backupId, context()),
    /** Whole disks that are read right now. */
    ...{ openExports, openRestores },
    findChangeId: createFindChangeId(commandDeps),
    pass: (by: number) => {
      seconds += by;
    },
    points: async (id = vmContextId) => (await load(store, restorePointsDecider(id), streamOf.restorePoints(id))).state,
    leases: async () => (await load(store, nbdPortsDecider, streamOf.nbdPorts(pool.storageNode))).state.leases,
    typesOf: (backupId: string) => store.typesIn(streamOf.backup(backupId)),
    /** A whole backup, from the request to its close. */
    backUp: async (over: Partial<StartBackupInput> = {}, round = 1): Promise<string> => {
      const backupId = await start(over);
      await settle(backupId, deps, undefined, never);
      await copyAll(backupId, round);
      await settle(backupId, deps, undefined, never);
      seconds += 3600;
      return backupId;
    },
  };
};

export type BackupWorld = ReturnType<typeof createBackupWorld>;

/** With one repository and one VM of two disks. */
export const createReadyWorld = async (): Promise<BackupWorld> => {
  const world = createBackupWorld();
  await world.addRepository();
  await world.addVm();
  return world;
};

/** A store that loses the first append which holds an event of that type: its hub dies before it is written. */
export const dyingBefore = (store: EventStore, type: string): EventStore => {
  let died = false;
  return {
    ...store,
    append: async (stream, events, expected, cause) => {
      if (died || !events.some((event) => event.type === type)) return store.append(stream, events, expected, cause);
      died = true;
      throw new Error(`died before ${type} was written`);
    },
  };
};
