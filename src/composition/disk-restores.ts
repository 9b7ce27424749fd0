import { type BackupReaders, createBackupReaders } from '#commands/backup-readers.ts';
import { createExportDisk, ImageUnreadable } from '#commands/export-disk.ts';
import { createCancelDiskRestore, createRequestDiskRestore } from '#commands/request-disk-restore.ts';
import { createFindRestorableDisk } from '#commands/restorable-disk.ts';
import type { Endpoint } from '#http/route.ts';
import { diskExportEndpoints } from '#http/routes/disk-export.ts';
import { diskRestoreEndpoints } from '#http/routes/disk-restores.ts';
import { createDiskCopier } from '#infra/qemu/disk-copier.ts';
import { inspectChain } from '#infra/qemu/image-info.ts';
import { type DiskRestores, runDiskRestores } from '#process-managers/disk-restores/run.ts';
import { PermanentFailure, type StepObserver } from '#process-managers/ports.ts';
import { diskRestoreQueries } from '#projections/disk-restores.ts';
import type { EndpointDeps } from './endpoints.ts';
import { clock, ids } from './services.ts';

const parallelRestores = 2;
const catchUpPatienceMs = 600_000;

/** Whoever keeps a backup from being deleted by reading a disk of it as a whole. */
export const backupReaders = ({ stores, services }: Pick<EndpointDeps, 'stores' | 'services'>): BackupReaders =>
  createBackupReaders({ restores: diskRestoreQueries(stores.database.readModel), exports: services.openExports });

/** Whole disks of backups, downloaded. */
export const diskExports = ({ stores, services }: EndpointDeps): readonly Endpoint[] => {
  const findDisk = createFindRestorableDisk({ store: stores.store });
  const { diskReader: reader, openExports: exports } = services;
  return diskExportEndpoints({ exportDisk: createExportDisk({ findDisk, reader, exports }) });
};

const sizeOf = async (imagePath: string, signal: AbortSignal): Promise<number> => {
  const chain = await inspectChain(imagePath, signal).catch((error: unknown) => {
    throw error instanceof PermanentFailure ? new ImageUnreadable(error.message, { cause: error }) : error;
  });
  return chain.virtualSizeBytes;
};

/** Whole disks of backups, written back by the hub. */
export const diskRestores = ({ stores, services, readModel }: EndpointDeps): readonly Endpoint[] => {
  const { store, database } = stores;
  const restores = diskRestoreQueries(database.readModel);
  const findDisk = createFindRestorableDisk({ store });
  const targets = services.restoreTargets;
  return diskRestoreEndpoints({
    restores,
    requestRestore: createRequestDiskRestore({ store, clock, ids, findDisk, chains: { sizeOf }, targets, restores }),
    cancelRestore: createCancelDiskRestore({ store, clock }),
    settled: readModel.settled,
  });
};

type RunnerDeps = Pick<EndpointDeps, 'stores' | 'services' | 'readModel' | 'log'> & Readonly<{ steps?: StepObserver }>;

/** The process manager of restores, for the hub that holds the storage node's lease. */
export const startDiskRestores = (deps: RunnerDeps, signal: AbortSignal): DiskRestores => {
  const { stores, services, readModel, log, steps } = deps;
  const copier = createDiskCopier({ folders: services.folders, targets: services.restoreTargets });
  const onProblem = (error: unknown): void => log.warn({ err: error }, 'progress of a disk restore is not recorded');
  return runDiskRestores(
    {
      deps: { store: stores.store, clock, ids, copier, onProblem, ...(steps ? { steps } : {}) },
      feed: stores.feed,
      openRestores: async (position) => {
        if (!(await readModel.runner.waitFor(position, catchUpPatienceMs))) throw new Error('the read model lags');
        return (await diskRestoreQueries(stores.database.readModel).open()).map(({ restoreId }) => restoreId);
      },
      parallelRestores,
      onProblem: ({ what, restoreId, error }) => log.warn({ err: error, restoreId }, what),
    },
    signal,
  );
};
