import type { BackupEvent } from './events.ts';

const mib = 1024 ** 2;

const inMib = (bytes: number): string => `${(bytes / mib).toFixed(1)} MiB`;

const plural = (count: number, word: string): string => `${count} ${word}${count === 1 ? '' : 's'}`;

/** What an event tells an administrator, in one sentence. */
export const narrate = (event: BackupEvent): string => {
  switch (event.type) {
    case 'BackupStarted': {
      const { backupType, vmName, disks, repositoryId, parentBackupId } = event.data;
      const base = parentBackupId === null ? '' : `, based on ${parentBackupId}`;
      return `Started ${backupType === 'full' ? 'a full' : 'an incremental'} backup of ${vmName} (${plural(disks.length, 'disk')}) into ${repositoryId}${base}.`;
    }
    case 'DiskImageCreated':
      return `Created the image of disk ${event.data.diskIndex}: ${event.data.imagePath}.`;
    case 'ExportPortsAssigned': {
      const ports = event.data.ports.map(({ diskIndex, port }) => `disk ${diskIndex} on ${port}`);
      return `Reserved NBD ports: ${ports.join(', ')}.`;
    }
    case 'ExportPortLost':
      return `Gave up port ${event.data.port} of disk ${event.data.diskIndex}: ${event.data.reason}.`;
    case 'DiskExportStarted': {
      const { exportName, diskIndex, port, pid } = event.data;
      return `Opened disk ${diskIndex} for writing as ${exportName} on port ${port} (process ${pid}).`;
    }
    case 'DiskExportDied':
      return `The export of disk ${event.data.diskIndex} ended unexpectedly: ${event.data.detail}.`;
    case 'TransferRequested':
      return 'Asked the node appliance to read the VM.';
    case 'TransferAccepted':
      return 'The node appliance has taken the job.';
    case 'BackupStalled':
      return `The backup stalled: ${event.data.reason}.`;
    case 'BackupResumed':
      return 'The backup goes on.';
    case 'DiskTransferred':
      return `Disk ${event.data.diskIndex} has arrived (${inMib(event.data.bytesTransferred)}).`;
    case 'DiskChangeIdRecorded':
      return `Recorded the change id of disk ${event.data.diskIndex}: ${event.data.changeId}.`;
    case 'DiskExportStopped':
      return `Closed the export of disk ${event.data.diskIndex} (${event.data.outcome}): ${event.data.detail}.`;
    case 'ExportPortsReleased':
      return 'Released the NBD ports.';
    case 'BackupCompleted':
      return `Completed: ${inMib(event.data.bytesTransferred)} transferred.`;
    case 'BackupFailed':
      return `Failed: ${event.data.reason}.`;
    case 'TransferCancelled':
      return `Told the node appliance to stop (${event.data.outcome}).`;
    case 'DiskImageDeleted':
      return `Deleted the unfinished image of disk ${event.data.diskIndex}.`;
    case 'BackupClosed':
      return 'Freed everything the job had used.';
    case 'BackupRemovalRequested':
      return 'Deletion was requested.';
    case 'BackupRemovalFailed':
      return `Deletion failed: ${event.data.reason}.`;
    case 'BackupRemoved':
      return 'Deleted the backup and its files.';
  }
};
