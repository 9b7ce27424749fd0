import { join } from 'node:path';
import type { Logger } from 'pino';
import { type Transfer, type TransferPlan, transferDisk } from './disk-transfer.ts';
import { totalBytes } from './extents.ts';
import type { HubClient } from './hub-client.ts';
import { JobFailure } from './job-failure.ts';
import { type DiskRecord, enterPhase, type JobRecord } from './job-record.ts';
import type { NbdTarget } from './nbd-targets.ts';
import type { Programs } from './programs.ts';
import type { Snapshot, SnapshotDisk, SourceVm } from './source.ts';
import type { TelemetryReporter } from './telemetry.ts';

/**
 * One backup: own snapshots of earlier runs removed, a new one, then every disk: ask the hub which state its image
 * shows, copy the difference or everything, tell the hub the change id of the new state. The snapshot goes at the end,
 * whatever happened.
 */
export type BackupRun = Readonly<{
  job: JobRecord;
  vm: SourceVm;
  targets: readonly NbdTarget[];
  /** For this run's files alone; the caller removes it. */
  folder: string;
  hub: HubClient;
  programs: Programs;
  telemetry: Pick<TelemetryReporter, 'changed'>;
  log: Logger;
}>;

type Work = Readonly<{
  disk: SnapshotDisk;
  target: NbdTarget;
  record: DiskRecord;
  /** The change id of the state that the hub's image shows; undefined for a new, empty image. */
  base: string | undefined;
}>;

type Bases = ReadonlyMap<number, string | undefined>;

// Side by side: one disk's reading fills the gaps of the other's writing. More than two gain nothing on one store.
const disksAtOnce = 2;

export const snapshotPrefix = (jobId: string): string => (jobId.startsWith('backup-') ? 'sbak-' : 'srep-');

export const runBackup = async (run: BackupRun, signal: AbortSignal): Promise<void> => {
  const prefix = snapshotPrefix(run.job.request.job_id);
  const bases = askForBases(run, signal);
  // Awaited below; a snapshot that fails before is the reason that counts.
  bases.catch(() => undefined);
  await run.vm.removeSnapshots(prefix, signal);
  const snapshot = await run.vm.createSnapshot(`${prefix}${run.job.request.job_id}`, signal);
  try {
    const works = worksOf(run, snapshot, await bases);
    enter(run, 'transferring');
    await backUpAll(run, works, signal);
  } finally {
    await snapshot.remove();
  }
  enter(run, 'completed');
};

const enter = ({ job, telemetry }: BackupRun, phase: JobRecord['phase']) => {
  enterPhase(job, phase, Date.now());
  telemetry.changed();
};

/**
 * For a full backup the image is new and empty, whatever the hub remembers. The others are asked for while the snapshot is
 * made, by the position of the disk's key among the targets, which is the hub's index.
 */
const askForBases = async ({ job, targets, hub, vm }: BackupRun, signal: AbortSignal): Promise<Bases> => {
  if (job.request.backup_type === 'full') return new Map();
  const asked = targets.map(
    async ({ diskKey }, index) => [diskKey, await hub.lastChangeId(vm.name, index, signal)] as const,
  );
  return new Map(await Promise.all(asked));
};

const worksOf = ({ job, targets }: BackupRun, { disks }: Snapshot, bases: Bases): readonly Work[] => {
  const works = disks.map((disk): Work => {
    const { index, key, label, capacityBytes } = disk;
    const target = targets.find(({ diskKey }) => diskKey === key);
    if (target === undefined) throw new JobFailure('transfer_failed', `no NBD target for ${label} (key ${key})`);
    const record = { index, key, label, capacityBytes, status: 'pending' as const };
    const expectedBytes = job.request.backup_type === 'full' ? capacityBytes : 0;
    return {
      disk,
      target,
      record: { ...record, totalBytes: expectedBytes, transferredBytes: 0 },
      base: bases.get(key),
    };
  });
  job.disks = works.map(({ record }) => record);
  return works;
};

/** The first disk that fails ends the others: half a backup is none. */
const backUpAll = async (run: BackupRun, works: readonly Work[], signal: AbortSignal): Promise<void> => {
  const failed = new AbortController();
  const either = AbortSignal.any([signal, failed.signal]);
  const queue = [...works];
  const worker = async () => {
    for (let work = queue.shift(); work !== undefined; work = queue.shift()) {
      try {
        await backUpDisk(run, work, either);
      } catch (error) {
        failed.abort(error);
        throw error;
      }
    }
  };
  // Settled, not raced: when this returns, no program of the run is left.
  await Promise.allSettled(Array.from({ length: disksAtOnce }, worker));
  signal.throwIfAborted();
  failed.signal.throwIfAborted();
};

const backUpDisk = async (run: BackupRun, work: Work, signal: AbortSignal): Promise<void> => {
  const { record, disk } = work;
  signal.throwIfAborted();
  try {
    const transferredBytes = await copyDisk(run, work, signal);
    if (run.job.disks.every(({ status, endedMs }) => status !== 'pending' && endedMs !== undefined)) {
      enter(run, 'finalizing');
    }
    const changeId = await disk.changeId();
    const body = { change_id: changeId, disk_id: disk.index, bytes_transferred: transferredBytes };
    await run.hub.completeDisk(run.job.request.job_id, body, signal);
    record.status = 'completed';
    run.log.info({ disk: disk.label, transferredBytes, changeId }, 'disk backed up');
    run.telemetry.changed();
  } catch (error) {
    record.status = 'failed';
    record.error = error instanceof Error ? error.message : String(error);
    throw error;
  }
};

const copyDisk = async (run: BackupRun, work: Work, signal: AbortSignal): Promise<number> => {
  const { disk, target, record } = work;
  const plan = planOf(run, work);
  run.log.info(
    { disk: disk.label, plan: plan.kind, bytes: plan.kind === 'changes' ? totalBytes(plan.extents) : undefined },
    'disk transfer starts',
  );
  record.startedMs = Date.now();
  record.status = 'transferring';
  const transfer: Transfer = {
    disk,
    target,
    plan,
    folder: run.folder,
    extentFile: join(run.folder, `extents-${disk.index}`),
    onProgress: (transferredBytes, bytes) => update(run, record, { transferredBytes, totalBytes: bytes }),
  };
  const bytes = await transferDisk(transfer, run.programs, signal);
  update(run, record, { transferredBytes: bytes, totalBytes: bytes });
  record.endedMs = Date.now();
  return bytes;
};

const update = (
  { job, telemetry }: BackupRun,
  record: DiskRecord,
  numbers: Pick<DiskRecord, 'transferredBytes' | 'totalBytes'>,
) => {
  Object.assign(record, numbers);
  job.updatedMs = Date.now();
  telemetry.changed();
};

/** When the source cannot tell what changed since the base, everything is copied over it. */
const planOf = (run: BackupRun, { disk, base }: Work): TransferPlan => {
  if (run.job.request.backup_type === 'full') return { kind: 'fresh' };
  const extents = base === undefined ? undefined : disk.changedSince(base);
  if (extents !== undefined) return { kind: 'changes', extents };
  run.log.info({ disk: disk.label, changeId: base }, 'changes since that id are unknown, everything is copied');
  return { kind: 'over' };
};
