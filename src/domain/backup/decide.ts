import type { Decider } from '../decider.ts';
import { DomainError } from '../errors.ts';
import type { BackupEvent, BackupEventOf, FailureKind } from './events.ts';
import { type BackupState, evolve, initialState, isFinalising, isRunning, type KnownBackup } from './state.ts';

type OfBackup = Readonly<{ backupId: string; at: string }>;

/**
 * `RecordStep` carries what a process manager did; the other commands carry what clients and administrators ask for.
 * A step that the job's end has overtaken is still recorded when it holds something that must be freed.
 */
export type BackupCommand =
  | Readonly<{ type: 'StartBackup'; data: BackupEventOf<'BackupStarted'>['data'] }>
  | Readonly<{ type: 'RecordSteps'; data: OfBackup & Readonly<{ steps: readonly StepEvent[] }> }>
  | Readonly<{ type: 'RecordExportDeath'; data: BackupEventOf<'DiskExportDied'>['data'] }>
  | Readonly<{ type: 'MarkStalled'; data: OfBackup & Readonly<{ reason: string }> }>
  | Readonly<{ type: 'Resume'; data: OfBackup }>
  | Readonly<{ type: 'MarkDisksTransferred'; data: OfBackup & Readonly<{ disks: readonly TransferredDisk[] }> }>
  | Readonly<{ type: 'RecordChangeId'; data: RecordChangeId }>
  | Readonly<{ type: 'CompleteBackup'; data: BackupEventOf<'BackupCompleted'>['data'] }>
  | Readonly<{
      type: 'FailBackup';
      data: OfBackup &
        Readonly<{ kind: FailureKind; reason: string; facts?: Readonly<Record<string, string | number>> }>;
    }>
  | Readonly<{ type: 'CloseBackup'; data: BackupEventOf<'BackupClosed'>['data'] }>
  | Readonly<{ type: 'RequestRemoval'; data: OfBackup }>
  | Readonly<{ type: 'FailRemoval'; data: OfBackup & Readonly<{ reason: string }> }>
  | Readonly<{ type: 'FinishRemoval'; data: OfBackup }>;

export type StepEvent = BackupEventOf<
  | 'DiskImageCreated'
  | 'ExportPortsAssigned'
  | 'ExportPortLost'
  | 'DiskExportStarted'
  | 'TransferRequested'
  | 'TransferAccepted'
  | 'TransferCancelled'
  | 'DiskExportStopped'
  | 'ExportPortsReleased'
  | 'DiskImageDeleted'
>;

type TransferredDisk = Readonly<{ diskIndex: number; bytesTransferred: number }>;

type RecordChangeId = OfBackup &
  Readonly<{
    diskIndex: number;
    changeId: string;
    /** 0 when the client did not say. */
    bytesTransferred: number;
  }>;

const known = (state: BackupState, backupId: string): KnownBackup => {
  if (state.status !== 'none' && state.removal !== 'removed') return state;
  throw new DomainError('backup-not-found', `there is no backup ${backupId}`, { backupId });
};

/** The client may not know which disk it speaks for; a change id for a disk that has another goes to the lowest open one. */
const diskFor = (job: KnownBackup, data: RecordChangeId) => {
  const named = job.disks.find((disk) => disk.index === data.diskIndex);
  if (!named) {
    throw new DomainError('backup-disk-not-found', `disk ${data.diskIndex} is not part of ${job.backupId}`, {
      disk: data.diskIndex,
    });
  }
  if (named.changeId === null || named.changeId === data.changeId) return named;
  // A repeat of what was put right before must not be put onto yet another disk.
  const repeated = job.disks.find((disk) => disk.changeId === data.changeId);
  if (repeated) return repeated;
  const open = job.disks.find((disk) => disk.changeId === null);
  if (open) return open;
  throw new DomainError('change-id-conflict', `disk ${named.index} already holds another change id`, {
    disk: named.index,
  });
};

const recordChangeId = (data: RecordChangeId, state: BackupState): readonly BackupEvent[] => {
  const job = known(state, data.backupId);
  const disk = diskFor(job, data);
  if (disk.changeId === data.changeId) return [];
  if (job.status === 'failed') {
    throw new DomainError('backup-ended', `${job.backupId} has failed; its change ids are not kept`, {
      status: job.status,
    });
  }
  const { backupId, changeId, at } = data;
  const bytesTransferred = data.bytesTransferred > 0 ? data.bytesTransferred : disk.bytesTransferred;
  const resumed: readonly BackupEvent[] =
    job.status === 'stalled' ? [{ type: 'BackupResumed', data: { backupId, at } }] : [];
  return [
    ...resumed,
    { type: 'DiskChangeIdRecorded', data: { backupId, diskIndex: disk.index, changeId, bytesTransferred, at } },
  ];
};

const markTransferred = (
  { backupId, disks, at }: OfBackup & Readonly<{ disks: readonly TransferredDisk[] }>,
  state: BackupState,
): readonly BackupEvent[] => {
  if (!isRunning(state)) return [];
  return disks
    .filter(({ diskIndex }) => state.disks.some((disk) => disk.index === diskIndex && !disk.transferred))
    .map(({ diskIndex, bytesTransferred }) => ({
      type: 'DiskTransferred',
      data: { backupId, diskIndex, bytesTransferred, at },
    }));
};

/** Whether a step still says something new; the repeat of a step after a crash is not an error. */
const isNews = (step: StepEvent, job: KnownBackup): boolean => {
  switch (step.type) {
    case 'DiskImageCreated':
      return job.disks.some((disk) => disk.index === step.data.diskIndex && disk.image === 'wanted');
    case 'ExportPortsAssigned':
      return step.data.ports.some(({ diskIndex, port }) =>
        job.disks.some((disk) => disk.index === diskIndex && disk.port !== port),
      );
    case 'ExportPortLost':
      return job.disks.some((disk) => disk.index === step.data.diskIndex && disk.port === step.data.port);
    case 'DiskExportStarted':
      return job.disks.some((disk) => disk.index === step.data.diskIndex && disk.export === 'wanted');
    case 'DiskExportStopped':
      return job.disks.some(
        (disk) => disk.index === step.data.diskIndex && disk.export !== 'clean' && disk.export !== 'unclean',
      );
    case 'TransferRequested':
      return job.transfer === 'wanted';
    case 'TransferAccepted':
      return job.transfer === 'requested';
    case 'TransferCancelled':
      return job.transfer !== 'cancelled';
    case 'ExportPortsReleased':
      return job.portsHeld;
    case 'DiskImageDeleted':
      return job.disks.some((disk) => disk.index === step.data.diskIndex && disk.image !== 'deleted');
  }
};

/** A step may be news because of the one before it: a port is lost after it was assigned. */
const newsOf = (steps: readonly StepEvent[], state: KnownBackup): readonly StepEvent[] => {
  let job: BackupState = state;
  return steps.filter((step) => {
    const news = job.status !== 'none' && isNews(step, job);
    if (news) job = evolve(job, step);
    return news;
  });
};

const requestRemoval = (data: OfBackup, state: BackupState): readonly BackupEvent[] => {
  const job = known(state, data.backupId);
  if (isRunning(job)) {
    throw new DomainError('backup-running', `${job.backupId} has not ended yet; delete it when it has`, {
      status: job.status,
    });
  }
  return job.removal === 'requested' ? [] : [{ type: 'BackupRemovalRequested', data }];
};

const decide = (command: BackupCommand, state: BackupState): readonly BackupEvent[] => {
  switch (command.type) {
    case 'StartBackup':
      return state.status === 'none' ? [{ type: 'BackupStarted', data: command.data }] : [];
    case 'RecordSteps':
      return newsOf(command.data.steps, known(state, command.data.backupId));
    case 'RecordExportDeath': {
      // With all data in, exports are meant to end: whether one ended in order is what its stop tells, also after a restart.
      if (!isRunning(state) || isFinalising(state)) return [];
      const disk = state.disks.find(({ index }) => index === command.data.diskIndex);
      // A death may be told before the start: the process ended while its start was being recorded.
      if (disk?.export !== 'running' && disk?.export !== 'wanted') return [];
      const { backupId, at, diskIndex, detail } = command.data;
      const reason = `the export of disk ${diskIndex} ended in the middle of the backup: ${detail}`;
      return [
        { type: 'DiskExportDied', data: command.data },
        { type: 'BackupFailed', data: { backupId, at, kind: 'export', reason, facts: { disk: diskIndex } } },
      ];
    }
    case 'MarkStalled':
      return state.status === 'running' ? [{ type: 'BackupStalled', data: command.data }] : [];
    case 'Resume':
      return state.status === 'stalled' ? [{ type: 'BackupResumed', data: command.data }] : [];
    case 'MarkDisksTransferred':
      return markTransferred(command.data, state);
    case 'RecordChangeId':
      return recordChangeId(command.data, state);
    case 'CompleteBackup':
      return isRunning(state) ? [{ type: 'BackupCompleted', data: command.data }] : [];
    case 'FailBackup': {
      if (!isRunning(state)) return [];
      const { backupId, kind, reason, facts = {}, at } = command.data;
      return [{ type: 'BackupFailed', data: { backupId, kind, reason, facts, at } }];
    }
    case 'CloseBackup': {
      const ended = state.status === 'completed' || state.status === 'failed';
      return ended && !state.closed ? [{ type: 'BackupClosed', data: command.data }] : [];
    }
    case 'RequestRemoval':
      return requestRemoval(command.data, state);
    case 'FailRemoval':
      return state.status !== 'none' && state.removal === 'requested'
        ? [{ type: 'BackupRemovalFailed', data: command.data }]
        : [];
    case 'FinishRemoval':
      return state.status !== 'none' && state.removal === 'requested'
        ? [{ type: 'BackupRemoved', data: command.data }]
        : [];
  }
};

export const backupDecider: Decider<BackupState, BackupCommand, BackupEvent> = { initialState, decide, evolve };
