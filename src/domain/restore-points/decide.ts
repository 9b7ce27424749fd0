import type { Decider } from '../decider.ts';
import { DomainError } from '../errors.ts';
import type {
  ActiveBackup,
  BackupType,
  PointDisk,
  RestorePoint,
  RestorePointsEvent,
  RestorePointsState,
} from './events.ts';

export type AdmitBackup = Readonly<{
  type: 'AdmitBackup';
  data: Readonly<{
    vmContextId: string;
    backupId: string;
    /** The same for every repeat of one request. */
    requestId: string;
    repositoryId: string;
    backupType: BackupType;
    /** Taken when this is the VM's first backup in the repository. */
    newContextId: string;
    diskIndexes: readonly number[];
    /** Images that the caller found missing on disk: they cannot carry an increment. */
    missingImages: readonly string[];
    /** The holder of the slot when the caller found that it has ended or never began. */
    endedBackupId?: string;
    at: string;
  }>;
}>;

type Ref = Readonly<{ vmContextId: string; backupId: string; at: string }>;

export type RestorePointsCommand =
  | AdmitBackup
  | Readonly<{ type: 'AbandonBackup'; data: Ref }>
  | Readonly<{ type: 'AddRestorePoint'; data: Readonly<{ vmContextId: string; point: RestorePoint }> }>
  | Readonly<{ type: 'RecordLateChangeId'; data: Ref & Readonly<{ diskIndex: number; changeId: string }> }>
  | Readonly<{ type: 'BeginRemoval'; data: Ref }>
  | Readonly<{ type: 'FinishRemoval'; data: Ref }>;

/** The newest point of a disk in a repository: the head of its chain. */
export const headOf = (
  state: RestorePointsState,
  repositoryId: string,
  diskIndex: number,
): Readonly<{ point: RestorePoint; disk: PointDisk }> | undefined => {
  for (const point of state.points.toReversed()) {
    if (point.repositoryId !== repositoryId) continue;
    const disk = point.disks.find((candidate) => candidate.index === diskIndex);
    if (disk) return { point, disk };
  }
  return undefined;
};

/** A disk's images from the newest back to the full one, following the parents. */
export const chainOf = (state: RestorePointsState, newest: RestorePoint, diskIndex: number): readonly PointDisk[] => {
  const chain: PointDisk[] = [];
  let point: RestorePoint | undefined = newest;
  while (point) {
    const { parentBackupId, disks }: RestorePoint = point;
    const disk = disks.find(({ index }) => index === diskIndex);
    if (disk) chain.push(disk);
    point = state.points.find(({ backupId }) => backupId === parentBackupId);
  }
  return chain;
};

const noBase = (diskIndex: number, why: string): never => {
  const reason = `disk ${diskIndex} ${why}, so a full backup comes first`;
  throw new DomainError('no-previous-backup', 'no previous backup found', { reason });
};

/**
 * What each disk's increment is based on; throws unless every disk has a usable head. All of them must be of one backup: a
 * disk that the newest one lacks was added since, and its own older head would hang on a chain that nobody follows.
 */
const basesFor = ({ data }: AdmitBackup, state: RestorePointsState): readonly PointDisk[] => {
  const newest = state.points.findLast((point) => point.repositoryId === data.repositoryId);
  return data.diskIndexes.map((index) => {
    const head = headOf(state, data.repositoryId, index);
    if (!head) return noBase(index, 'has no completed backup in this repository');
    if (head.point !== newest) return noBase(index, `is not part of ${newest?.backupId}`);
    if (head.disk.changeId === null) return noBase(index, `has no change id in ${head.point.backupId}`);
    if (state.removing.includes(head.point.backupId))
      return noBase(index, 'is based on a backup that is being removed');
    const lost = chainOf(state, head.point, index).find(({ imagePath }) => data.missingImages.includes(imagePath));
    if (lost) return noBase(index, `lost an image of its chain (${lost.imagePath})`);
    return head.disk;
  });
};

const admit = (command: AdmitBackup, state: RestorePointsState): readonly RestorePointsEvent[] => {
  const { vmContextId, backupId, requestId, repositoryId, backupType, endedBackupId, at } = command.data;
  if (state.active?.backupId === backupId && state.active.requestId === requestId) return [];
  if (state.active && state.active.backupId !== endedBackupId) {
    throw new DomainError(
      'backup-already-running',
      `a backup of this VM is already running: ${state.active.backupId}`,
      {
        backupId: state.active.backupId,
      },
    );
  }
  const bases = backupType === 'incremental' ? basesFor(command, state) : [];
  const parent = bases[0] ? headOf(state, repositoryId, bases[0].index)?.point.backupId : undefined;
  const context = state.contexts.find((known) => known.repositoryId === repositoryId);
  const active: ActiveBackup = {
    ...{ backupId, requestId, repositoryId, type: backupType, bases },
    backupContextId: context?.backupContextId ?? command.data.newContextId,
    parentBackupId: parent ?? null,
    admittedAt: at,
  };
  return [{ type: 'BackupAdmitted', data: { vmContextId, active } }];
};

const beginRemoval = (ref: Ref, state: RestorePointsState): readonly RestorePointsEvent[] => {
  if (state.removing.includes(ref.backupId)) return [];
  if (!state.points.some((point) => point.backupId === ref.backupId)) return [];
  const dependants = state.points
    .filter((point) => point.parentBackupId === ref.backupId)
    .map((point) => point.backupId);
  if (state.active?.parentBackupId === ref.backupId) dependants.push(state.active.backupId);
  if (dependants.length > 0) {
    throw new DomainError(
      'backup-has-dependants',
      `incremental backups depend on ${ref.backupId}; delete those first: ${dependants.join(', ')}`,
      { dependants },
    );
  }
  return [{ type: 'RestorePointRemovalBegun', data: ref }];
};

const decide = (command: RestorePointsCommand, state: RestorePointsState): readonly RestorePointsEvent[] => {
  switch (command.type) {
    case 'AdmitBackup':
      return admit(command, state);
    case 'AbandonBackup':
      return state.active?.backupId === command.data.backupId ? [{ type: 'BackupAbandoned', data: command.data }] : [];
    case 'AddRestorePoint': {
      const known = state.points.some((point) => point.backupId === command.data.point.backupId);
      return known ? [] : [{ type: 'RestorePointAdded', data: command.data }];
    }
    case 'RecordLateChangeId': {
      const point = state.points.find(({ backupId }) => backupId === command.data.backupId);
      const disk = point?.disks.find(({ index }) => index === command.data.diskIndex);
      return disk && disk.changeId === null ? [{ type: 'LateChangeIdRecorded', data: command.data }] : [];
    }
    case 'BeginRemoval':
      return beginRemoval(command.data, state);
    case 'FinishRemoval':
      return state.points.some((point) => point.backupId === command.data.backupId)
        ? [{ type: 'RestorePointRemoved', data: command.data }]
        : [];
  }
};

const withContext = ({ contexts }: RestorePointsState, active: ActiveBackup): RestorePointsState['contexts'] => {
  const { repositoryId, backupContextId } = active;
  const known = contexts.some((context) => context.repositoryId === repositoryId);
  return known ? contexts : [...contexts, { repositoryId, backupContextId }];
};

/** The slot may be another backup's by now. */
const withoutActive = (state: RestorePointsState, backupId: string): RestorePointsState =>
  state.active?.backupId === backupId ? { ...state, active: null } : state;

const evolve = (state: RestorePointsState, event: RestorePointsEvent): RestorePointsState => {
  switch (event.type) {
    case 'BackupAdmitted':
      return { ...state, active: event.data.active, contexts: withContext(state, event.data.active) };
    case 'BackupAbandoned':
      return withoutActive(state, event.data.backupId);
    case 'RestorePointAdded':
      return { ...withoutActive(state, event.data.point.backupId), points: [...state.points, event.data.point] };
    case 'LateChangeIdRecorded': {
      const { backupId, diskIndex, changeId } = event.data;
      const points = state.points.map((point) =>
        point.backupId === backupId
          ? { ...point, disks: point.disks.map((disk) => (disk.index === diskIndex ? { ...disk, changeId } : disk)) }
          : point,
      );
      return { ...state, points };
    }
    case 'RestorePointRemovalBegun':
      return { ...state, removing: [...state.removing, event.data.backupId] };
    case 'RestorePointRemoved':
      return {
        ...state,
        points: state.points.filter((point) => point.backupId !== event.data.backupId),
        removing: state.removing.filter((backupId) => backupId !== event.data.backupId),
      };
    case 'RestorePointsCarriedForward':
      return event.data.state;
  }
};

/** A VM is protected for years: its stream has no end, so its state is carried forward. */
export const restorePointsDecider = (
  vmContextId: string,
): Decider<RestorePointsState, RestorePointsCommand, RestorePointsEvent> => ({
  initialState: { active: null, points: [], removing: [], contexts: [] },
  decide,
  evolve,
  isWholeState: (event) => event.type === 'RestorePointsCarriedForward',
  carryForward: {
    everyEvents: 100,
    toEvent: (state) => ({ type: 'RestorePointsCarriedForward', data: { vmContextId, state } }),
  },
});
