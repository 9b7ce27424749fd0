import { type BackupCommand, backupDecider } from '#domain/backup/decide.ts';
import type { BackupEvent } from '#domain/backup/events.ts';
import { at, backupId, backupStarted, changeIds, facts, histories } from '../../support/backup-facts.ts';
import { given } from '../../support/given.ts';

export const ref = { backupId, at: at(100) };
export const job = (...history: readonly BackupEvent[]) => given(backupDecider, ...history);

export const record = (diskIndex: number, changeId: string, bytesTransferred = 0): BackupCommand => ({
  type: 'RecordChangeId',
  data: { ...ref, diskIndex, changeId, bytesTransferred },
});

export const recorded = (diskIndex: number, changeId: string, bytesTransferred = 0): BackupEvent => ({
  type: 'DiskChangeIdRecorded',
  data: { ...ref, diskIndex, changeId, bytesTransferred },
});

export const transferred = (...disks: readonly (readonly [diskIndex: number, bytes: number])[]): BackupCommand => ({
  type: 'MarkDisksTransferred',
  data: { ...ref, disks: disks.map(([diskIndex, bytesTransferred]) => ({ diskIndex, bytesTransferred })) },
});

export const fail: BackupCommand = { type: 'FailBackup', data: { ...ref, kind: 'client', reason: 'no space' } };
export const stall: BackupCommand = { type: 'MarkStalled', data: { ...ref, reason: 'silence' } };
export const resume: BackupCommand = { type: 'Resume', data: ref };
export const complete: BackupCommand = { type: 'CompleteBackup', data: facts.completed().data };
export const close: BackupCommand = { type: 'CloseBackup', data: { ...ref, performance: null } };
export const start: BackupCommand = { type: 'StartBackup', data: backupStarted().data };
export const death = (diskIndex: number): BackupCommand => ({
  type: 'RecordExportDeath',
  data: facts.exportDied(diskIndex).data,
});
export const requestRemoval: BackupCommand = { type: 'RequestRemoval', data: ref };
export const failRemoval: BackupCommand = { type: 'FailRemoval', data: { ...ref, reason: 'EACCES' } };
export const finishRemoval: BackupCommand = { type: 'FinishRemoval', data: ref };

export const [first, second] = changeIds;
export const ended = { completed: histories.completed, failed: histories.failed, removed: histories.removed } as const;
export const open = { running: histories.running, stalled: histories.stalled } as const;
