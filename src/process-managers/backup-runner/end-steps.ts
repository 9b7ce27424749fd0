import { handle, load } from '#commands/handle.ts';
import { abandon } from '#commands/start-backup.ts';
import type { StepEvent } from '#domain/backup/decide.ts';
import type { TelemetrySummary } from '#domain/backup/events.ts';
import { exportIdFor, folderOf } from '#domain/backup/ids.ts';
import type { DiskState, KnownBackup } from '#domain/backup/state.ts';
import { nbdPortsDecider } from '#domain/nbd-ports/nbd-ports.ts';
import { headOf, type RestorePointsCommand, restorePointsDecider } from '#domain/restore-points/decide.ts';
import type { RestorePointsState } from '#domain/restore-points/events.ts';
import { streamOf } from '#domain/streams.ts';
import { telemetryDecider } from '#domain/telemetry/decide.ts';
import type { Progress, ProgressReported } from '#domain/telemetry/events.ts';
import { NodeRefused, NodeUnreachable, PermanentFailure } from '../ports.ts';
import { tellJob, type Work } from './deps.ts';
import { emptyRollUp, performanceOf, sample, summarise } from './roll-up.ts';
import { chainSideFile, imageSideFile } from './side-file-content.ts';

export const stopExport = async (disk: DiskState, { job, deps, signal }: Work): Promise<readonly StepEvent[]> => {
  const { backupId } = job;
  const { outcome, detail } = await deps.exporter.stop(exportIdFor(backupId, disk.index), signal);
  const at = deps.clock.now();
  return [{ type: 'DiskExportStopped', data: { backupId, diskIndex: disk.index, outcome, detail, at } }];
};

/** By job id: names of VMs and exports repeat, ids do not. */
export const releasePorts = async ({ job, deps, context }: Work): Promise<readonly StepEvent[]> => {
  const { backupId } = job;
  const at = deps.clock.now();
  await handle(
    deps.store,
    { decider: nbdPortsDecider, stream: streamOf.nbdPorts(deps.pool.storageNode) },
    { type: 'ReleasePorts', data: { jobId: backupId, ports: [], reason: 'released', at } },
    context,
  );
  return [{ type: 'ExportPortsReleased', data: { backupId, at } }];
};

/**
 * What an export that did not end in order had written is unknown: tables that were still in its memory are lost, and a
 * check of the image is clean all the same.
 */
export const rejectImage = async (disk: DiskState, { job, deps, context }: Work): Promise<void> => {
  const { backupId } = job;
  const reason = `the export of disk ${disk.index} did not end in order, so its image cannot be trusted`;
  const facts = { disk: disk.index };
  await tellJob(
    deps,
    { type: 'FailBackup', data: { backupId, kind: 'unclean-image', reason, facts, at: deps.clock.now() } },
    context,
  );
};

type MeasuredDisk = Readonly<{
  disk: DiskState;
  imageBytes: number;
  virtualSizeBytes: number;
  bytesTransferred: number;
}>;

const measure = async (
  { job, deps, signal }: Work,
  progress: Promise<Progress | undefined>,
): Promise<readonly MeasuredDisk[]> =>
  Promise.all(
    job.disks.map(async (disk) => {
      await deps.images.seal(disk.imagePath, signal);
      const { actualSizeBytes, virtualSizeBytes } = await deps.images.inspect(disk.imagePath, signal);
      const reported = (await progress)?.disks.find(({ index }) => index === disk.index)?.bytesTransferred ?? 0;
      // A client that told nothing: what the image has grown by.
      const grown = Math.max(0, actualSizeBytes - disk.emptyBytes);
      const bytesTransferred = disk.bytesTransferred || reported || grown;
      return { disk, imageBytes: actualSizeBytes, virtualSizeBytes, bytesTransferred };
    }),
  );

const progressOf = async ({ job, deps }: Work): Promise<Progress | undefined> =>
  (await load(deps.store, telemetryDecider, streamOf.telemetry(job.backupId))).state?.progress;

const tellRestorePoints = (
  { job, deps, context }: Work,
  command: RestorePointsCommand,
): Promise<Readonly<{ state: RestorePointsState }>> =>
  handle(
    deps.store,
    { decider: restorePointsDecider(job.vmContextId), stream: streamOf.restorePoints(job.vmContextId) },
    command,
    context,
  );

const sumOf = (disks: readonly Readonly<{ bytesTransferred: number }>[]): number =>
  disks.reduce((sum, { bytesTransferred }) => sum + bytesTransferred, 0);

/** The last report is of some moment in the middle, and the old client's of one disk alone: what was told of each disk counts more. */
const transferredBy = (measured: readonly MeasuredDisk[], progress: Progress | undefined): number => {
  const told = measured.map(({ disk }) => disk);
  const isWhole = told.every(({ bytesTransferred }) => bytesTransferred > 0);
  if (isWhole || !progress?.bytesTransferred) return sumOf(measured);
  return Math.max(progress.bytesTransferred, sumOf(told));
};

/** The restore point first, then the job's end: whoever sees the job completed can base an increment on it. */
export const complete = async (work: Work): Promise<void> => {
  const { job, deps, context } = work;
  const { backupId, vmContextId, repositoryId, backupType, parentBackupId } = job;
  const reported = progressOf(work);
  // Awaited below; when the images fail first, nobody is left to hear that the store failed as well.
  reported.catch(() => undefined);
  const measured = await measure(work, reported).catch((error: unknown) => {
    if (!(error instanceof PermanentFailure)) throw error;
    return error;
  });
  const progress = await reported;
  const at = deps.clock.now();
  if (measured instanceof PermanentFailure) {
    const reason = `a finished image cannot be read back: ${measured.message}`;
    await tellJob(deps, { type: 'FailBackup', data: { backupId, kind: 'image', reason, at } }, context);
    return;
  }
  const disks = measured.map(({ disk, imageBytes, virtualSizeBytes }) => ({
    ...{ index: disk.index, changeId: disk.changeId, imagePath: disk.imagePath, virtualSizeBytes, imageBytes },
  }));
  const point = { backupId, repositoryId, type: backupType, parentBackupId, disks, completedAt: at };
  await tellRestorePoints(work, { type: 'AddRestorePoint', data: { vmContextId, point } });
  const bytesTransferred = transferredBy(measured, progress);
  const totalBytes = Math.max(progress?.totalBytes ?? 0, bytesTransferred);
  const completed = measured.map(({ disk, imageBytes, bytesTransferred: bytes }) => ({
    ...{ diskIndex: disk.index, imageBytes, bytesTransferred: bytes },
  }));
  await tellJob(
    deps,
    { type: 'CompleteBackup', data: { backupId, bytesTransferred, totalBytes, disks: completed, at } },
    context,
  );
};

/** Best effort: a node that is away cannot be told, and its client ends by itself once the exports are gone. */
export const cancelTransfer = async ({ job, deps, signal }: Work): Promise<readonly StepEvent[]> => {
  const { backupId } = job;
  const outcome = await deps.node.cancelBackup(backupId, signal).then(
    (cancelled) => (cancelled ? ('cancelled' as const) : ('not-known' as const)),
    (error: unknown) => {
      if (error instanceof NodeUnreachable || error instanceof NodeRefused) return 'unreachable' as const;
      throw error;
    },
  );
  return [{ type: 'TransferCancelled', data: { backupId, outcome, at: deps.clock.now() } }];
};

export const deleteImage = async (disk: DiskState, { job, deps }: Work): Promise<readonly StepEvent[]> => {
  const { backupId } = job;
  const { imagePath, index } = disk;
  await deps.images.delete(imagePath, job.repositoryPath);
  return [{ type: 'DiskImageDeleted', data: { backupId, diskIndex: index, imagePath, at: deps.clock.now() } }];
};

const writeSideFiles = async (work: Work): Promise<void> => {
  const { job, deps, signal } = work;
  const { vmContextId } = job;
  const { state } = await load(deps.store, restorePointsDecider(vmContextId), streamOf.restorePoints(vmContextId));
  const point = state.points.find(({ backupId }) => backupId === job.backupId);
  await Promise.all(
    job.disks.map(async (disk) => {
      const facts = await deps.images.inspect(disk.imagePath, signal);
      await deps.sideFiles.write(`${disk.imagePath}.json`, imageSideFile(job, disk, facts, point));
      await writeChainFile(work, state, disk);
    }),
  );
};

const writeChainFile = async ({ job, deps }: Work, state: RestorePointsState, disk: DiskState): Promise<void> => {
  const head = headOf(state, job.repositoryId, disk.index);
  if (!head) return;
  const content = chainSideFile(job.vmContextId, disk.index, state, head.point);
  await deps.sideFiles.write(`${folderOf(head.disk.imagePath)}/chain.json`, content);
};

const rollUp = async ({ job, deps, signal }: Work) => {
  const stream = streamOf.telemetry(job.backupId);
  let profile = emptyRollUp;
  let telemetry: TelemetrySummary | null = null;
  let last = -1n;
  for await (const { event, revision } of deps.store.readForwards<ProgressReported>(stream, 0n, signal)) {
    profile = sample(profile, event);
    telemetry = summarise(telemetry, event);
    last = revision;
  }
  return { performance: performanceOf(profile), telemetry, last, stream };
};

/** After the end: what lies beside the images, the profile of the transfer, and the raw telemetry's truncation. */
export const close = async (work: Work): Promise<void> => {
  const { job, deps, context } = work;
  const { backupId } = job;
  if (job.status === 'completed') {
    await passOnChangeIds(work);
    await writeSideFiles(work).catch(ignoreLostImages);
  } else await withdraw(work);
  const { performance, telemetry, last, stream } = await rollUp(work);
  await tellJob(
    deps,
    { type: 'CloseBackup', data: { backupId, performance, telemetry, at: deps.clock.now() } },
    context,
  );
  if (last >= 0n) await deps.store.bound(stream, { truncateBefore: last + 1n });
};

/** The job may have failed after its restore point was registered and before it was completed. */
const withdraw = async (work: Work): Promise<void> => {
  const { job, deps, context } = work;
  const { backupId, vmContextId } = job;
  await tellRestorePoints(work, { type: 'FinishRemoval', data: { vmContextId, backupId, at: deps.clock.now() } });
  await abandon(deps, vmContextId, backupId, context);
};

/** Change ids that came while the job was being completed are not in its restore point yet. */
const passOnChangeIds = async (work: Work): Promise<void> => {
  const { backupId, vmContextId, disks } = work.job;
  for (const { index: diskIndex, changeId } of disks) {
    if (changeId === null) continue;
    const data = { vmContextId, backupId, diskIndex, changeId, at: work.deps.clock.now() };
    await tellRestorePoints(work, { type: 'RecordLateChangeId', data });
  }
};

/** Somebody deleted an image by hand just after the end: there is nothing to write beside, and the job has to end. */
const ignoreLostImages = (error: unknown): void => {
  if (!(error instanceof PermanentFailure)) throw error;
};

const removeFiles = async ({ job, deps }: Work): Promise<void> => {
  for (const disk of job.disks) await deps.images.delete(disk.imagePath, job.repositoryPath);
};

/** Files first, then the chain, then the job: a crash in between leaves a removal that goes on. */
export const remove = async (work: Work): Promise<void> => {
  const { job, deps, context } = work;
  const { backupId, vmContextId } = job;
  try {
    await removeFiles(work);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    await tellJob(deps, { type: 'FailRemoval', data: { backupId, reason, at: deps.clock.now() } }, context);
    return;
  }
  const at = deps.clock.now();
  const { state } = await tellRestorePoints(work, { type: 'FinishRemoval', data: { vmContextId, backupId, at } });
  await rewriteChainFiles(work, job, state);
  await tellJob(deps, { type: 'FinishRemoval', data: { backupId, at } }, context);
};

const rewriteChainFiles = async (work: Work, job: KnownBackup, state: RestorePointsState): Promise<void> => {
  for (const disk of job.disks) {
    const head = headOf(state, job.repositoryId, disk.index);
    if (head) await writeChainFile(work, state, disk);
    else await work.deps.images.delete(`${folderOf(disk.imagePath)}/chain.json`, job.repositoryPath);
  }
};
