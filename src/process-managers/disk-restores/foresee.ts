import type { DomainEvent } from '#domain/decider.ts';
import { type DiskRestoreEvent, diskRestoreEventVersions } from '#domain/disk-restore/events.ts';
import { nameOfTarget } from '#domain/disk-restore/target.ts';

const sentences = (event: DiskRestoreEvent): readonly string[] => {
  switch (event.type) {
    case 'DiskRestoreRequested': {
      const { diskIndex, backupId, target, verify, sizeBytes } = event.data;
      const name = nameOfTarget(target);
      return [
        `The hub writes disk ${diskIndex} of ${backupId} (${sizeBytes} bytes) to ${name}.`,
        ...(verify ? [`It compares ${name} with the backup.`] : []),
        ...(target.type === 'image' ? [`${name} appears when it is complete.`] : []),
      ];
    }
    case 'DiskRestoreCancelRequested':
      return ['The hub ends the copy and removes what there is of it.'];
    default:
      return [];
  }
};

/** What restores would do after these events, in words. */
export const foreseeDiskRestores = (events: readonly DomainEvent[]): readonly string[] =>
  events.flatMap((event) => (event.type in diskRestoreEventVersions ? sentences(event as DiskRestoreEvent) : []));
