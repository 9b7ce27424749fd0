import type { BackupDisk, BackupEvent, BackupEventOf, FailureKind } from '#domain/backup/events.ts';
import type { PointDisk, RestorePoint } from '#domain/restore-points/events.ts';
import type { ProgressReported } from '#domain/telemetry/events.ts';

/** The second that `backupId` is named for. */
const epochMs = Date.UTC(2026, 10, 22, 2, 16, 5);

/** So many seconds after the backup began. */
export const at = (seconds = 0): string => new Date(epochMs + seconds * 1000).toISOString();

export const backupId = 'backup-pgtest1-1795313765';
export const vmContextId = 'ctx-pgtest1-20261006-203401';
export const repositoryId = 'repo-local-1760055634';
export const rootPath = '/backup/repository';
export const gib = 1024 ** 3;

export const changeIds = [
  '52 66 8c 2d a7 c5 c5 68-c5 d2 8d 04 79 f5 fd 7d/5440',
  '52 11 22 33 44 55 66 77-88 99 aa bb cc dd ee ff/17',
] as const;

export const imagePath = (diskIndex: number, stamp = '20261122-021605'): string =>
  `${rootPath}/${vmContextId}/disk-${diskIndex}/backup-pgtest1-disk${diskIndex}-${stamp}.qcow2`;

const capacities = [102 * gib, 5 * gib];

export const backupDisk = (index: number, over: Partial<BackupDisk> = {}): BackupDisk => ({
  index,
  key: 2000 + index,
  capacityBytes: capacities[index] ?? gib,
  originalPath: `[ds1] pgtest1/pgtest1${index === 0 ? '' : `_${index}`}.vmdk`,
  exportName: `pgtest1-disk-${2000 + index}`,
  imagePath: imagePath(index),
  base: null,
  ...over,
});

type Started = BackupEventOf<'BackupStarted'>['data'];

/** Two disks unless told otherwise: one hides the bugs of two. */
export const backupStarted = (over: Partial<Started> = {}): BackupEventOf<'BackupStarted'> => ({
  type: 'BackupStarted',
  data: {
    ...{ backupId, at: at(), vmContextId, vmName: 'pgtest1', vmPath: '/DC1/vm/pgtest1' },
    ...{ backupContextId: 'ctx-backup-pgtest1-1795313765', credentialId: 7, repositoryId, repositoryPath: rootPath },
    ...{ backupType: 'full', parentBackupId: null, policyId: null, tags: {} },
    disks: [backupDisk(0), backupDisk(1)],
    ...over,
  },
});

const of = (seconds: number) => ({ backupId, at: at(seconds) });

/** One event of each kind of the standard job, as its process manager records them. */
export const facts = {
  imageCreated: (diskIndex: number): BackupEventOf<'DiskImageCreated'> => ({
    type: 'DiskImageCreated',
    data: { ...of(1), diskIndex, imagePath: imagePath(diskIndex), emptyBytes: 196_624 },
  }),
  portsAssigned: (...ports: readonly number[]): BackupEventOf<'ExportPortsAssigned'> => ({
    type: 'ExportPortsAssigned',
    data: { ...of(1), ports: ports.map((port, diskIndex) => ({ diskIndex, port })) },
  }),
  portLost: (diskIndex: number, port: number): BackupEventOf<'ExportPortLost'> => ({
    type: 'ExportPortLost',
    data: { ...of(1), diskIndex, port, reason: `port ${port} is in use by another program` },
  }),
  exportStarted: (diskIndex: number): BackupEventOf<'DiskExportStarted'> => ({
    type: 'DiskExportStarted',
    data: {
      ...of(2),
      ...{ diskIndex, port: 10100 + diskIndex, pid: 4000 + diskIndex, sharedConnections: 10 },
      exportName: `pgtest1-disk-${2000 + diskIndex}`,
      imagePath: imagePath(diskIndex),
    },
  }),
  exportDied: (diskIndex: number): BackupEventOf<'DiskExportDied'> => ({
    type: 'DiskExportDied',
    data: { ...of(20), diskIndex, pid: 4000 + diskIndex, detail: 'killed by SIGKILL' },
  }),
  exportStopped: (
    diskIndex: number,
    outcome: 'clean' | 'unclean' | 'not-running' = 'clean',
  ): BackupEventOf<'DiskExportStopped'> => ({
    type: 'DiskExportStopped',
    data: { ...of(40), diskIndex, outcome, detail: 'it ended in order with exit code 0' },
  }),
  portsReleased: (): BackupEventOf<'ExportPortsReleased'> => ({ type: 'ExportPortsReleased', data: of(41) }),
  requested: (): BackupEventOf<'TransferRequested'> => ({
    type: 'TransferRequested',
    data: { ...of(3), nbdTargets: targets },
  }),
  accepted: (): BackupEventOf<'TransferAccepted'> => ({ type: 'TransferAccepted', data: { ...of(4), nodePid: 18231 } }),
  cancelled: (): BackupEventOf<'TransferCancelled'> => ({
    type: 'TransferCancelled',
    data: { ...of(30), outcome: 'cancelled' },
  }),
  stalled: (): BackupEventOf<'BackupStalled'> => ({
    type: 'BackupStalled',
    data: { ...of(70), reason: 'Job stalled - no telemetry for 1m6s' },
  }),
  resumed: (seconds = 80): BackupEventOf<'BackupResumed'> => ({ type: 'BackupResumed', data: of(seconds) }),
  transferred: (diskIndex: number, bytesTransferred = 0): BackupEventOf<'DiskTransferred'> => ({
    type: 'DiskTransferred',
    data: { ...of(35), diskIndex, bytesTransferred },
  }),
  changeId: (
    diskIndex: number,
    changeId: string = changeIds[diskIndex] ?? '',
    bytesTransferred = 0,
  ): BackupEventOf<'DiskChangeIdRecorded'> => ({
    type: 'DiskChangeIdRecorded',
    data: { ...of(36), diskIndex, changeId, bytesTransferred },
  }),
  completed: (): BackupEventOf<'BackupCompleted'> => ({
    type: 'BackupCompleted',
    data: {
      ...of(42),
      ...{ bytesTransferred: 3 * gib, totalBytes: 107 * gib },
      disks: [
        { diskIndex: 0, imageBytes: 2 * gib, bytesTransferred: 2 * gib },
        { diskIndex: 1, imageBytes: gib, bytesTransferred: gib },
      ],
    },
  }),
  failed: (kind: FailureKind = 'client', reason = 'the snapshot was refused'): BackupEventOf<'BackupFailed'> => ({
    type: 'BackupFailed',
    data: { ...of(20), kind, reason, facts: {} },
  }),
  imageDeleted: (diskIndex: number): BackupEventOf<'DiskImageDeleted'> => ({
    type: 'DiskImageDeleted',
    data: { ...of(31), diskIndex, imagePath: imagePath(diskIndex) },
  }),
  closed: (
    performance: BackupEventOf<'BackupClosed'>['data']['performance'] = null,
  ): BackupEventOf<'BackupClosed'> => ({
    type: 'BackupClosed',
    data: { ...of(43), performance },
  }),
  removalRequested: (): BackupEventOf<'BackupRemovalRequested'> => ({ type: 'BackupRemovalRequested', data: of(90) }),
  removalFailed: (): BackupEventOf<'BackupRemovalFailed'> => ({
    type: 'BackupRemovalFailed',
    data: { ...of(91), reason: 'EACCES: permission denied' },
  }),
  removed: (): BackupEventOf<'BackupRemoved'> => ({ type: 'BackupRemoved', data: of(92) }),
} as const;

export const targets = '2000:nbd://127.0.0.1:10100/pgtest1-disk-2000,2001:nbd://127.0.0.1:10101/pgtest1-disk-2001';

/** What a job of two disks has behind it in each of its states. */
export const histories = {
  running: [
    backupStarted(),
    facts.portsAssigned(10100, 10101),
    facts.imageCreated(0),
    facts.imageCreated(1),
    facts.exportStarted(0),
    facts.exportStarted(1),
    facts.requested(),
    facts.accepted(),
  ],
  get stalled(): readonly BackupEvent[] {
    return [...this.running, facts.stalled()];
  },
  get completed(): readonly BackupEvent[] {
    return [
      ...this.running,
      ...[facts.changeId(0), facts.changeId(1), facts.exportStopped(0), facts.exportStopped(1)],
      ...[facts.portsReleased(), facts.completed(), facts.closed()],
    ];
  },
  get failed(): readonly BackupEvent[] {
    return [
      ...this.running,
      ...[facts.failed(), facts.cancelled(), facts.exportStopped(0, 'unclean'), facts.exportStopped(1, 'unclean')],
      ...[facts.portsReleased(), facts.imageDeleted(0), facts.imageDeleted(1), facts.closed()],
    ];
  },
  get removed(): readonly BackupEvent[] {
    return [...this.completed, facts.removalRequested(), facts.removed()];
  },
} as const;

export const pointDisk = (index: number, over: Partial<PointDisk> = {}): PointDisk => ({
  index,
  changeId: changeIds[index] ?? null,
  imagePath: imagePath(index),
  virtualSizeBytes: capacities[index] ?? gib,
  imageBytes: gib,
  ...over,
});

export const restorePoint = (over: Partial<RestorePoint> = {}): RestorePoint => ({
  ...{ backupId, repositoryId, type: 'full', parentBackupId: null, completedAt: at(42) },
  disks: [pointDisk(0), pointDisk(1)],
  ...over,
});

export type Reported = ProgressReported['data'];
/** A report of the standard job in the middle of its first disk. */
export const progress = (over: Partial<Reported['progress']> = {}, more: Partial<Reported> = {}): ProgressReported => ({
  type: 'ProgressReported',
  data: {
    ...{ jobId: backupId, at: at(10), status: 'running', error: null, senderTimestamp: null, fingerprint: 'x' },
    progress: {
      ...{ phase: 'transferring', bytesTransferred: gib, totalBytes: 107 * gib, speedBps: 1000, etaSeconds: 9 },
      percent: 1.5,
      disks: [
        { index: 0, bytesTransferred: gib, totalBytes: 102 * gib, percent: 2, status: 'transferring' },
        { index: 1, bytesTransferred: 0, totalBytes: 0, percent: 0, status: 'pending' },
      ],
      ...over,
    },
    ...more,
  },
});
