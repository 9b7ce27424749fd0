import type { OpenDiskRestores } from './disk-restore-ports.ts';
import type { OpenDisk, OpenExports } from './open-exports.ts';

/** Somebody who reads a whole disk of a backup. */
export type BackupReader = OpenDisk & Readonly<{ by: 'restore'; restoreId: string } | { by: 'download' }>;

/** Knows who reads whole disks. Mounts are not among them: they hold slots, which the log itself tells of. */
export interface BackupReaders {
  of(backupId: string): Promise<readonly BackupReader[]>;
}

/** Restores as the read model shows them, so also those that wait or were begun by another hub; downloads of this hub. */
export const createBackupReaders = (
  deps: Readonly<{ restores: OpenDiskRestores; exports: Pick<OpenExports, 'list'> }>,
): BackupReaders => ({
  of: async (backupId) => {
    const restores = await deps.restores.open();
    const readers: readonly BackupReader[] = [
      ...restores.map(({ target: _, ...restore }) => ({ ...restore, by: 'restore' as const })),
      ...deps.exports.list().map((disk) => ({ ...disk, by: 'download' as const })),
    ];
    return readers.filter((reader) => reader.backupId === backupId);
  },
});
