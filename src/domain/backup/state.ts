import type { BackupType } from '../restore-points/events.ts';
import type { BackupDisk, BackupEvent, BackupEventOf, FailureKind } from './events.ts';

/** What has been done for one disk, as far as anybody still asks. */
export type DiskState = BackupDisk &
  Readonly<{
    image: 'wanted' | 'created' | 'deleted';
    port: number | null;
    export: 'wanted' | 'running' | 'died' | 'clean' | 'unclean';
    transferred: boolean;
    changeId: string | null;
    bytesTransferred: number;
    /** What the image occupied while it was empty. */
    emptyBytes: number;
  }>;

export type BackupJob = Readonly<{
  backupId: string;
  vmContextId: string;
  vmName: string;
  vmPath: string;
  credentialId: number;
  repositoryId: string;
  repositoryPath: string;
  backupType: BackupType;
  parentBackupId: string | null;
  startedAt: string;
  disks: readonly DiskState[];
  transfer: 'wanted' | 'requested' | 'accepted' | 'cancelled';
  /** True from the start: only the pool knows what a hub took before it died, so giving back is always owed. */
  portsHeld: boolean;
  failure: Readonly<{ kind: FailureKind; reason: string; facts: Readonly<Record<string, string | number>> }> | null;
  /** Everything the job needed is freed and its telemetry is rolled up: nothing is owed any more. */
  closed: boolean;
  removal: 'none' | 'requested' | 'removed';
}>;

export type BackupState =
  | Readonly<{ status: 'none' }>
  | (BackupJob & Readonly<{ status: 'running' | 'stalled' | 'completed' | 'failed' }>);

export type KnownBackup = Exclude<BackupState, { status: 'none' }>;

export const initialState: BackupState = { status: 'none' };

const started = ({ data }: BackupEventOf<'BackupStarted'>): BackupState => ({
  status: 'running',
  backupId: data.backupId,
  vmContextId: data.vmContextId,
  vmName: data.vmName,
  vmPath: data.vmPath,
  credentialId: data.credentialId,
  repositoryId: data.repositoryId,
  repositoryPath: data.repositoryPath,
  backupType: data.backupType,
  parentBackupId: data.parentBackupId,
  startedAt: data.at,
  disks: data.disks.map((disk) => ({
    ...disk,
    image: 'wanted',
    port: null,
    export: 'wanted',
    transferred: false,
    changeId: null,
    bytesTransferred: 0,
    emptyBytes: 0,
  })),
  transfer: 'wanted',
  portsHeld: true,
  failure: null,
  closed: false,
  removal: 'none',
});

const withDisk = (state: KnownBackup, index: number, change: Partial<DiskState>): KnownBackup => ({
  ...state,
  disks: state.disks.map((disk) => (disk.index === index ? { ...disk, ...change } : disk)),
});

const stopped = (outcome: BackupEventOf<'DiskExportStopped'>['data']['outcome']): DiskState['export'] =>
  outcome === 'clean' ? 'clean' : 'unclean';

const assigned = (state: KnownBackup, { data }: BackupEventOf<'ExportPortsAssigned'>): KnownBackup => ({
  ...state,
  portsHeld: true,
  disks: state.disks.map((disk) => ({
    ...disk,
    port: data.ports.find(({ diskIndex }) => diskIndex === disk.index)?.port ?? disk.port,
  })),
});

/** Total: an event that makes no sense without a start leaves the state as it is. */
export const evolve = (state: BackupState, event: BackupEvent): BackupState => {
  if (event.type === 'BackupStarted') return started(event);
  if (state.status === 'none') return state;
  switch (event.type) {
    case 'DiskImageCreated':
      return withDisk(state, event.data.diskIndex, { image: 'created', emptyBytes: event.data.emptyBytes });
    case 'ExportPortsAssigned':
      return assigned(state, event);
    case 'ExportPortLost':
      return withDisk(state, event.data.diskIndex, { port: null });
    case 'DiskExportStarted':
      return withDisk(state, event.data.diskIndex, { export: 'running', port: event.data.port });
    case 'DiskExportDied':
      return withDisk(state, event.data.diskIndex, { export: 'died' });
    case 'TransferRequested':
      return { ...state, transfer: 'requested' };
    case 'TransferAccepted':
      return { ...state, transfer: 'accepted' };
    case 'TransferCancelled':
      return { ...state, transfer: 'cancelled' };
    case 'BackupStalled':
      return { ...state, status: 'stalled' };
    case 'BackupResumed':
      return { ...state, status: 'running' };
    case 'DiskTransferred':
      return withDisk(state, event.data.diskIndex, {
        transferred: true,
        bytesTransferred: event.data.bytesTransferred,
      });
    case 'DiskChangeIdRecorded': {
      const { diskIndex, changeId, bytesTransferred } = event.data;
      // A change id that comes after the end opens the job again for what must then be written beside the image.
      const closed = state.status === 'completed' ? false : state.closed;
      return withDisk({ ...state, closed }, diskIndex, { transferred: true, changeId, bytesTransferred });
    }
    case 'DiskExportStopped':
      return withDisk(state, event.data.diskIndex, { export: stopped(event.data.outcome) });
    case 'ExportPortsReleased':
      return { ...state, portsHeld: false, disks: state.disks.map((disk) => ({ ...disk, port: null })) };
    case 'BackupCompleted':
      return { ...state, status: 'completed' };
    case 'BackupFailed': {
      const { kind, reason, facts } = event.data;
      return { ...state, status: 'failed', failure: { kind, reason, facts } };
    }
    case 'DiskImageDeleted':
      return withDisk(state, event.data.diskIndex, { image: 'deleted' });
    case 'BackupClosed':
      return { ...state, closed: true };
    case 'BackupRemovalRequested':
      return { ...state, removal: 'requested' };
    case 'BackupRemovalFailed':
      return { ...state, removal: 'none' };
    case 'BackupRemoved':
      return { ...state, removal: 'removed' };
  }
};

export const isRunning = (state: BackupState): state is KnownBackup & { status: 'running' | 'stalled' } =>
  state.status === 'running' || state.status === 'stalled';

/** Every disk's data has arrived: what remains is to end the exports in order and to register the restore point. */
export const isFinalising = (state: BackupState): boolean =>
  isRunning(state) && state.disks.every((disk) => disk.transferred);
