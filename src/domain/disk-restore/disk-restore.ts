import type { Decider } from '../decider.ts';
import { DomainError } from '../errors.ts';
import type { DiskRestoreEvent, DiskRestoreEventOf, RestoreFailureKind, RestorePhase } from './events.ts';

type Requested = DiskRestoreEventOf<'DiskRestoreRequested'>['data'];

export type KnownDiskRestore = Requested &
  Readonly<{
    status: 'pending' | 'running' | 'copied' | 'completed' | 'failed' | 'cancelled';
    attempts: number;
    /** Of the copy under way; a step is told once. */
    progress: Readonly<{ phase: RestorePhase; percent: number }>;
    cancelRequested: boolean;
    /** What was made, once all of it is there. */
    file: string | null;
    failure: Readonly<{ kind: RestoreFailureKind; reason: string }> | null;
  }>;

export type DiskRestoreState = Readonly<{ status: 'none' }> | KnownDiskRestore;

type Data<Type extends DiskRestoreEvent['type']> = DiskRestoreEventOf<Type>['data'];

export type DiskRestoreCommand =
  | Readonly<{ type: 'RequestDiskRestore'; data: Requested }>
  | Readonly<{ type: 'RecordStart'; data: Readonly<{ restoreId: string; at: string }> }>
  | Readonly<{ type: 'RecordProgress'; data: Data<'DiskRestoreProgressed'> }>
  | Readonly<{ type: 'RecordCopy'; data: Data<'DiskRestoreCopied'> }>
  | Readonly<{ type: 'CompleteDiskRestore'; data: Data<'DiskRestoreCompleted'> }>
  | Readonly<{ type: 'FailDiskRestore'; data: Data<'DiskRestoreFailed'> }>
  | Readonly<{ type: 'RequestCancel'; data: Data<'DiskRestoreCancelRequested'> }>
  | Readonly<{ type: 'RecordCancel'; data: Data<'DiskRestoreCancelled'> }>;

/** Steps of progress that are worth an event. */
const stepPercent = 10;

export const hasEnded = ({ status }: DiskRestoreState): boolean =>
  status === 'completed' || status === 'failed' || status === 'cancelled';

const isOpen = (state: DiskRestoreState): state is KnownDiskRestore => state.status !== 'none' && !hasEnded(state);

const progressed = (data: Data<'DiskRestoreProgressed'>, state: KnownDiskRestore): readonly DiskRestoreEvent[] => {
  if (state.status !== 'running') return [];
  const percent = Math.floor(Math.min(data.percent, 100) / stepPercent) * stepPercent;
  const { progress } = state;
  if (data.phase === progress.phase ? percent <= progress.percent : progress.phase === 'verifying') return [];
  return [{ type: 'DiskRestoreProgressed', data: { ...data, percent } }];
};

const requestCancel = (data: Data<'DiskRestoreCancelRequested'>, state: DiskRestoreState) => {
  if (state.status === 'none')
    throw new DomainError('disk-restore-not-found', `there is no restore ${data.restoreId}`, {
      restoreId: data.restoreId,
    });
  if (state.status === 'cancelled' || state.cancelRequested) return [];
  if (hasEnded(state) || state.status === 'copied')
    throw new DomainError('disk-restore-ended', `the restore is ${state.status} already`, {
      restoreId: data.restoreId,
      status: state.status,
    });
  return [{ type: 'DiskRestoreCancelRequested', data } as const];
};

const decide = (command: DiskRestoreCommand, state: DiskRestoreState): readonly DiskRestoreEvent[] => {
  switch (command.type) {
    case 'RequestDiskRestore':
      return state.status === 'none' ? [{ type: 'DiskRestoreRequested', data: command.data }] : [];
    case 'RequestCancel':
      return requestCancel(command.data, state);
    case 'RecordStart':
      return isOpen(state) && state.status !== 'copied'
        ? [{ type: 'DiskRestoreStarted', data: { ...command.data, attempt: state.attempts + 1 } }]
        : [];
    case 'RecordProgress':
      return isOpen(state) ? progressed(command.data, state) : [];
    case 'RecordCopy':
      // Who asked to cancel before it was all there gets nothing of it.
      return isOpen(state) && state.status === 'running' && !state.cancelRequested
        ? [{ type: 'DiskRestoreCopied', data: command.data }]
        : [];
    case 'CompleteDiskRestore':
      return state.status === 'copied' ? [{ type: 'DiskRestoreCompleted', data: command.data }] : [];
    case 'FailDiskRestore':
      return isOpen(state) ? [{ type: 'DiskRestoreFailed', data: command.data }] : [];
    case 'RecordCancel':
      return isOpen(state) && state.cancelRequested ? [{ type: 'DiskRestoreCancelled', data: command.data }] : [];
  }
};

const nothingYet = { phase: 'copying', percent: 0 } as const;

const evolve = (state: DiskRestoreState, event: DiskRestoreEvent): DiskRestoreState => {
  if (event.type === 'DiskRestoreRequested') {
    const fresh = { attempts: 0, progress: nothingYet, cancelRequested: false, file: null, failure: null };
    return { ...event.data, ...fresh, status: 'pending' };
  }
  if (state.status === 'none') return state;
  switch (event.type) {
    case 'DiskRestoreStarted':
      return { ...state, status: 'running', attempts: event.data.attempt, progress: nothingYet };
    case 'DiskRestoreProgressed':
      return { ...state, progress: { phase: event.data.phase, percent: event.data.percent } };
    case 'DiskRestoreCopied':
      return { ...state, status: 'copied', file: event.data.file };
    case 'DiskRestoreCompleted':
      return { ...state, status: 'completed' };
    case 'DiskRestoreFailed':
      return { ...state, status: 'failed', failure: { kind: event.data.kind, reason: event.data.reason } };
    case 'DiskRestoreCancelRequested':
      return { ...state, cancelRequested: true };
    case 'DiskRestoreCancelled':
      return { ...state, status: 'cancelled' };
  }
};

export const diskRestoreDecider: Decider<DiskRestoreState, DiskRestoreCommand, DiskRestoreEvent> = {
  initialState: { status: 'none' },
  decide,
  evolve,
};
