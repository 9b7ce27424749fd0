import type { BackupState, DiskState, KnownBackup } from './state.ts';

export type FieldValue = string | number | boolean | null;

/** One field that is not what it was; null stands for what did not exist. `diskIndex` is null for the job itself. */
export type ChangedField = Readonly<{
  diskIndex: number | null;
  field: string;
  before: FieldValue;
  after: FieldValue;
}>;

type Fields = Readonly<Record<string, FieldValue>>;

const jobFields = (job: KnownBackup): Fields => ({
  ...{ status: job.status, vmContextId: job.vmContextId, vmName: job.vmName, repositoryId: job.repositoryId },
  ...{ backupType: job.backupType, parentBackupId: job.parentBackupId, credentialId: job.credentialId },
  ...{ transfer: job.transfer, portsHeld: job.portsHeld, closed: job.closed, removal: job.removal },
  ...{ failureKind: job.failure?.kind ?? null, failureReason: job.failure?.reason ?? null },
});

const diskFields = (disk: DiskState): Fields => ({
  ...{ imagePath: disk.imagePath, exportName: disk.exportName, capacityBytes: disk.capacityBytes },
  ...{ baseImagePath: disk.base?.imagePath ?? null, baseChangeId: disk.base?.changeId ?? null },
  ...{ image: disk.image, export: disk.export, port: disk.port, transferred: disk.transferred },
  ...{ changeId: disk.changeId, bytesTransferred: disk.bytesTransferred, emptyBytes: disk.emptyBytes },
});

const changed = (before: Fields, after: Fields, diskIndex: number | null): readonly ChangedField[] =>
  [...new Set([...Object.keys(before), ...Object.keys(after)])].flatMap((field) => {
    const [was, is] = [before[field] ?? null, after[field] ?? null];
    return was === is ? [] : [{ diskIndex, field, before: was, after: is }];
  });

const disksOf = (state: BackupState): ReadonlyMap<number, DiskState> =>
  new Map(state.status === 'none' ? [] : state.disks.map((disk) => [disk.index, disk]));

/** What is different between two states of one job: its own fields first, then disk by disk. */
export const diffOf = (before: BackupState, after: BackupState): readonly ChangedField[] => {
  const own = (state: BackupState): Fields => (state.status === 'none' ? {} : jobFields(state));
  const [was, is] = [disksOf(before), disksOf(after)];
  const indexes = [...new Set([...was.keys(), ...is.keys()])].sort((a, b) => a - b);
  const ofDisk = (disk: DiskState | undefined): Fields => (disk ? diskFields(disk) : {});
  return [
    ...changed(own(before), own(after), null),
    ...indexes.flatMap((index) => changed(ofDisk(was.get(index)), ofDisk(is.get(index)), index)),
  ];
};
