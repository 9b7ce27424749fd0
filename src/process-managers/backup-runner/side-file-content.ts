import type { DiskState, KnownBackup } from '#domain/backup/state.ts';
import { chainOf } from '#domain/restore-points/decide.ts';
import type { RestorePoint, RestorePointsState } from '#domain/restore-points/events.ts';
import type { ImageFacts } from '../ports.ts';

/** `[ds1] pgtest1/pgtest1.vmdk` to `ds1`. */
const datastoreOf = (path: string): string => /^\[([^\]]+)\]/.exec(path)?.[1] ?? '';

/** `<image>.json`: what a person or a tool needs to know of one image when the hub is gone. */
export const imageSideFile = (
  job: KnownBackup,
  disk: DiskState,
  facts: ImageFacts,
  point: RestorePoint | undefined,
): object => ({
  backup_id: job.backupId,
  vm_context_id: job.vmContextId,
  vm_name: job.vmName,
  disk_id: disk.index,
  backup_type: job.backupType,
  ...(job.parentBackupId === null ? {} : { parent_backup_id: job.parentBackupId }),
  ...(disk.changeId === null ? {} : { change_id: disk.changeId }),
  size_bytes: facts.actualSizeBytes,
  total_bytes: disk.capacityBytes,
  created_at: job.startedAt,
  ...(point ? { completed_at: point.completedAt } : {}),
  qcow2_info: {
    virtual_size: facts.virtualSizeBytes,
    actual_size: facts.actualSizeBytes,
    ...(facts.backingFile === null ? {} : { backing_file: facts.backingFile }),
    format: facts.format,
    cluster_size: facts.clusterSizeBytes,
    compressed: false,
    encrypted: false,
    dirty_flag: facts.dirty,
  },
  metadata: {
    vmware_info: {
      vmware_disk_id: `disk-${disk.key}`,
      disk_path: disk.originalPath,
      datastore_name: datastoreOf(disk.originalPath),
      change_id: disk.changeId ?? '',
      cbt_enabled: disk.changeId !== null,
    },
  },
});

/** `chain.json` of one disk's folder: its images from the full one to the newest. */
export const chainSideFile = (
  vmContextId: string,
  diskIndex: number,
  state: RestorePointsState,
  newest: RestorePoint,
): object => {
  const images = chainOf(state, newest, diskIndex);
  const members = state.points.filter((point) =>
    point.disks.some(
      ({ index, imagePath }) => index === diskIndex && images.some((image) => image.imagePath === imagePath),
    ),
  );
  return {
    chain_id: `${vmContextId}-disk${diskIndex}-chain`,
    vm_context_id: vmContextId,
    disk_id: diskIndex,
    full_backup_id: members[0]?.backupId ?? '',
    backup_ids: members.map(({ backupId }) => backupId),
    total_backups: members.length,
    total_size_bytes: images.reduce((sum, { imageBytes }) => sum + imageBytes, 0),
    created_at: members[0]?.completedAt ?? newest.completedAt,
    updated_at: newest.completedAt,
  };
};
