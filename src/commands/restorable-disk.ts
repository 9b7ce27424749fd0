import { backupDecider } from '#domain/backup/decide.ts';
import { DomainError } from '#domain/errors.ts';
import { streamOf } from '#domain/streams.ts';
import { load } from './handle.ts';
import type { EventStore } from './ports.ts';

/** A disk of a completed backup. */
export type RestorableDisk = Readonly<{
  backupId: string;
  vmName: string;
  diskIndex: number;
  /** The newest image of its chain. */
  imagePath: string;
  /** Root of the repository that holds the image. */
  repositoryPath: string;
}>;

export type FindRestorableDisk = (backupId: string, diskIndex: number) => Promise<RestorableDisk>;

/**
 * From the backup's own stream, so that no read model can lag. Throws `backup-not-found`, `backup-disk-not-found`, and
 * `backup-not-restorable` for a backup that is not complete or is being deleted.
 */
export const createFindRestorableDisk =
  ({ store }: Readonly<{ store: EventStore }>): FindRestorableDisk =>
  async (backupId, diskIndex) => {
    const { state } = await load(store, backupDecider, streamOf.backup(backupId));
    if (state.status === 'none' || state.removal === 'removed')
      throw new DomainError('backup-not-found', `there is no backup ${backupId}`, { backupId });
    if (state.status !== 'completed')
      throw new DomainError(
        'backup-not-restorable',
        `${backupId} is ${state.status}, only completed backups are read`,
        {
          ...{ backupId, status: state.status },
        },
      );
    if (state.removal === 'requested')
      throw new DomainError('backup-not-restorable', `${backupId} is being deleted`, { backupId });
    const disk = state.disks.find(({ index }) => index === diskIndex);
    if (!disk)
      throw new DomainError('backup-disk-not-found', `${backupId} has no disk ${diskIndex}`, { backupId, diskIndex });
    const { vmName, repositoryPath } = state;
    return { backupId, vmName, diskIndex, imagePath: disk.imagePath, repositoryPath };
  };
