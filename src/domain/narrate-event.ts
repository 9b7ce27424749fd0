import { type BackupEvent, backupEventVersions } from './backup/events.ts';
import { narrate } from './backup/narrate.ts';
import type { ClaimEvent } from './claim/claim.ts';
import type { DomainEvent } from './decider.ts';
import type { DiskRestoreEvent } from './disk-restore/events.ts';
import { nameOfTarget } from './disk-restore/target.ts';
import type { IdempotencyKeyEvent } from './idempotency-key/idempotency-key.ts';
import type { MountSlotsEvent } from './mount-slots/mount-slots.ts';
import type { NbdExportEvent } from './nbd-export/nbd-export.ts';
import type { NbdPortsEvent } from './nbd-ports/nbd-ports.ts';
import type { RepositoryEvent } from './repository/repository.ts';
import type { RepositoryRootsEvent } from './repository/roots.ts';
import type { RepositoryStorageEvent } from './repository/storage.ts';
import type { RestoreMountEvent } from './restore-mount/events.ts';
import type { RestorePointsEvent } from './restore-points/events.ts';
import type { SessionEvent } from './session/events.ts';
import type { TelemetryEvent } from './telemetry/events.ts';
import type { VmContextEvent } from './vm-context/vm-context.ts';
import type { CredentialUsageEvent } from './vmware-credential/credential-usage.ts';
import type { DefaultCredentialEvent } from './vmware-credential/default-credential.ts';
import type { VmwareCredentialEvent } from './vmware-credential/vmware-credential.ts';

type Told =
  | ClaimEvent
  | CredentialUsageEvent
  | DefaultCredentialEvent
  | DiskRestoreEvent
  | IdempotencyKeyEvent
  | NbdExportEvent
  | NbdPortsEvent
  | MountSlotsEvent
  | RepositoryEvent
  | RepositoryRootsEvent
  | RepositoryStorageEvent
  | RestoreMountEvent
  | RestorePointsEvent
  | SessionEvent
  | TelemetryEvent
  | VmContextEvent
  | VmwareCredentialEvent;

type Words = { readonly [Type in Told['type']]: (data: Extract<Told, { type: Type }>['data']) => string };

const inGib = (bytes: number): string => `${(bytes / 1024 ** 3).toFixed(1)} GiB`;

const words: Words = {
  NameClaimed: ({ key }) => `Reserved the name ${key}.`,
  NameReleased: ({ key }) => `Gave the name ${key} back.`,
  VmwareCredentialUsed: ({ credentialId, purpose }) => `Credential ${credentialId} was used for a ${purpose}.`,
  DefaultCredentialChosen: ({ credentialId }) => `Credential ${credentialId} became the default.`,
  DefaultCredentialCleared: () => 'There is no default credential any more.',
  DiskRestoreRequested: ({ backupId, diskIndex, target }) =>
    `Disk ${diskIndex} of ${backupId} is to be written to ${nameOfTarget(target)}.`,
  DiskRestoreStarted: ({ attempt }) =>
    attempt === 1 ? 'The copy began.' : `The copy began anew, for the ${attempt}. time.`,
  DiskRestoreProgressed: ({ phase, percent }) => `${percent} % of ${phase} is done.`,
  DiskRestoreCopied: ({ verified }) =>
    verified ? 'All of it is written, flushed, and the same as the backup.' : 'All of it is written and flushed.',
  DiskRestoreCompleted: () => 'The disk is restored.',
  DiskRestoreFailed: ({ reason }) => `The disk is not restored: ${reason}.`,
  DiskRestoreCancelRequested: () => 'Somebody asked for the end of the restore.',
  DiskRestoreCancelled: () => 'The restore ended as it was asked to; nothing of an image is left.',
  IdempotencyKeyUsed: ({ subject }) => `Noted the client's key, so that a repeat leads to ${subject}.`,
  NbdExportStarted: ({ exportName, port }) => `Somebody opened the export ${exportName} on port ${port}.`,
  NbdExportEnded: ({ exportId, detail }) => `The export ${exportId} ended: ${detail}.`,
  NbdPortsAllocated: ({ leases }) => `Leased NBD ports: ${leases.map(({ port }) => port).join(', ') || 'none'}.`,
  NbdPortsReleased: ({ ports, jobId, reason }) => `Ports ${ports.join(', ')} of ${jobId} are free again (${reason}).`,
  NbdPortsCarriedForward: ({ leases }) => `Carried the leases of ${leases.length} ports forward.`,
  MountSlotTaken: ({ slot, backupId, diskIndex }) => `Took mount slot ${slot} for disk ${diskIndex} of ${backupId}.`,
  MountSlotReleased: ({ slot }) => `Mount slot ${slot} is free again.`,
  MountSlotsCarriedForward: ({ holders }) => `Carried ${holders.length} mounts forward.`,
  MountRequested: ({ backupId, diskIndex }) => `Somebody asked for the files on disk ${diskIndex} of ${backupId}.`,
  DiskExposed: ({ sizeBytes }) => `The disk (${inGib(sizeBytes)}) was opened over a throw-away overlay.`,
  MountCompleted: ({ partitions, skipped }) =>
    `Mounted ${partitions.length} filesystems${skipped.length === 0 ? '' : `, ${skipped.length} cannot be mounted`}.`,
  MountFailed: ({ reason }) => `Nothing was mounted: ${reason}.`,
  MountAccessed: ({ expiresAt }) => `Files were read; the mount now ends at ${expiresAt} unless they are again.`,
  UnmountRequested: ({ cause, detail }) => `The mount is to end (${cause}): ${detail}.`,
  UnmountFailed: ({ reason }) => `It could not be unmounted: ${reason}.`,
  Unmounted: () => 'Nothing of the mount is left.',
  RepositoryAdded: ({ name, config }) => `Added the repository "${name}" at ${config.path}.`,
  RepositoryRemovalBegun: ({ repositoryId }) => `${repositoryId} takes no more backups: its removal began.`,
  RepositoryRemovalRefused: ({ backupCount }) => `Not removed: it still holds ${backupCount} backups.`,
  RepositoryRemoved: ({ repositoryId }) => `Removed the repository ${repositoryId}; its files stay.`,
  RepositoryRootClaimed: ({ realPath, name }) => `The directory ${realPath} belongs to "${name}".`,
  RepositoryRootReleased: ({ repositoryId }) => `${repositoryId} gave its directory back.`,
  RepositoryStorageMeasured: ({ availableBytes, totalBytes }) =>
    `Measured: ${inGib(availableBytes)} of ${inGib(totalBytes)} are free.`,
  BackupAdmitted: ({ active }) => `Admitted ${active.backupId}: it is the one backup of this VM that runs now.`,
  BackupAbandoned: ({ backupId }) => `${backupId} gave the VM back without a restore point.`,
  RestorePointAdded: ({ point }) => `${point.backupId} can be restored from now on.`,
  LateChangeIdRecorded: ({ backupId, diskIndex, changeId }) =>
    `The change id of disk ${diskIndex} of ${backupId} came after its end: ${changeId}.`,
  RestorePointRemovalBegun: ({ backupId }) => `No increment may be based on ${backupId} any more: its removal began.`,
  RestorePointRemoved: ({ backupId }) => `${backupId} is no restore point any more.`,
  RestorePointsCarriedForward: ({ state }) => `Carried ${state.points.length} restore points forward.`,
  SessionOpened: ({ subject }) => `${subject} logged in.`,
  SessionClosed: () => 'A session ended.',
  ProgressReported: ({ progress }) => `The client reported ${progress.percent.toFixed(0)} % (${progress.phase}).`,
  VmAdded: ({ vmName, disks }) => `Took ${vmName} under management (${disks.length} disks).`,
  VmCredentialLinked: ({ credentialId }) => `The VM is read with credential ${credentialId} from now on.`,
  VmwareCredentialCreated: ({ name }) => `Saved the vCenter login "${name}".`,
  VmwareCredentialDetailsChanged: ({ name }) => `Changed the vCenter login "${name}".`,
  VmwareCredentialPasswordChanged: ({ credentialId }) => `Replaced the password of credential ${credentialId}.`,
  VmwareCredentialActivated: ({ credentialId }) => `Switched credential ${credentialId} on.`,
  VmwareCredentialDeactivated: ({ credentialId }) => `Switched credential ${credentialId} off.`,
  VmwareCredentialDeleted: ({ credentialId }) => `Deleted credential ${credentialId}.`,
};

/** `TransferRequested` to `Transfer requested.` */
export const wordsOfType = (type: string): string => {
  const [first = '', ...rest] = type.replaceAll(/([a-z0-9])([A-Z])/g, '$1 $2').split(' ');
  return `${[first, ...rest.map((word) => word.toLowerCase())].join(' ')}.`;
};

/** What any event tells an administrator, in one sentence; a type without words of its own is told by its name. */
export const narrateEvent = (event: DomainEvent): string => {
  if (event.type in backupEventVersions) return narrate(event as BackupEvent);
  // The dispatch by name has lost which data belongs to which type.
  const tell = (words as Readonly<Record<string, ((data: never) => string) | undefined>>)[event.type];
  return tell ? tell(event.data as never) : wordsOfType(event.type);
};
