import type { Decider } from '../decider.ts';
import { DomainError } from '../errors.ts';
import type {
  MountFailureKind,
  PartitionMounted,
  PartitionSkipped,
  RestoreMountEvent,
  RestoreMountEventOf,
} from './events.ts';

type Request = RestoreMountEventOf<'MountRequested'>['data'];

export type RestoreMount = Omit<Request, 'at'> &
  Readonly<{
    /** `failed`: it could not be taken down, and still holds its slot. */
    status: 'mounting' | 'mounted' | 'unmounting' | 'failed' | 'unmounted';
    createdAt: string;
    lastAccessedAt: string;
    partitioned: boolean;
    partitions: readonly PartitionMounted[];
    skipped: readonly PartitionSkipped[];
    /** Why it was never mounted. */
    failure: Readonly<{ kind: MountFailureKind; reason: string }> | null;
    /** Why it could not be taken down the last time; empty otherwise. */
    unmountError: string;
    unmountAttempts: number;
  }>;

export type RestoreMountState = Readonly<{ status: 'none' }> | RestoreMount;

export type RestoreMountCommand =
  | Readonly<{ type: 'RequestMount'; data: Request }>
  | Readonly<{
      type: 'CompleteMount';
      data: RestoreMountEventOf<'MountCompleted'>['data'] & Readonly<{ pid: number | null; sizeBytes: number }>;
    }>
  | Readonly<{ type: 'FailMount'; data: RestoreMountEventOf<'MountFailed'>['data'] }>
  | Readonly<{ type: 'RecordAccess'; data: RestoreMountEventOf<'MountAccessed'>['data'] }>
  | Readonly<{ type: 'RequestUnmount'; data: RestoreMountEventOf<'UnmountRequested'>['data'] }>
  /** Ends it only if its deadline has passed by then, whatever the caller saw before. */
  | Readonly<{ type: 'ExpireMount'; data: Readonly<{ mountId: string; at: string }> }>
  | Readonly<{ type: 'RecordUnmountFailure'; data: RestoreMountEventOf<'UnmountFailed'>['data'] }>
  | Readonly<{ type: 'RecordUnmounted'; data: RestoreMountEventOf<'Unmounted'>['data'] }>;

/** Whether it is there, or comes into being. */
export const isLive = (state: RestoreMountState): state is RestoreMount =>
  state.status === 'mounting' || state.status === 'mounted';

const known = (state: RestoreMountState, mountId: string): RestoreMount => {
  if (state.status !== 'none' && state.status !== 'unmounted') return state;
  throw new DomainError('mount-not-found', `there is no mount ${mountId}`, { mountId });
};

const complete = (
  { pid, sizeBytes, ...data }: Extract<RestoreMountCommand, { type: 'CompleteMount' }>['data'],
  state: RestoreMountState,
): readonly RestoreMountEvent[] => {
  // Its end was asked for meanwhile: what was mounted is taken down next.
  if (state.status !== 'mounting') return [];
  const { mountId, at } = data;
  return [
    { type: 'DiskExposed', data: { mountId, at, pid, sizeBytes } },
    { type: 'MountCompleted', data },
  ];
};

const decide = (command: RestoreMountCommand, state: RestoreMountState): readonly RestoreMountEvent[] => {
  switch (command.type) {
    case 'RequestMount':
      return state.status === 'none' ? [{ type: 'MountRequested', data: command.data }] : [];
    case 'CompleteMount':
      return complete(command.data, state);
    case 'FailMount':
      return state.status === 'mounting' ? [{ type: 'MountFailed', data: command.data }] : [];
    case 'RecordAccess':
      return isLive(state) && state.lastAccessedAt < command.data.at
        ? [{ type: 'MountAccessed', data: command.data }]
        : [];
    case 'RequestUnmount':
      return known(state, command.data.mountId).status === 'unmounting'
        ? []
        : [{ type: 'UnmountRequested', data: command.data }];
    case 'ExpireMount': {
      const { mountId, at } = command.data;
      if (!isLive(state) || state.expiresAt > at) return [];
      const detail = `nothing was read since ${state.lastAccessedAt}`;
      return [{ type: 'UnmountRequested', data: { mountId, at, cause: 'expired', detail } }];
    }
    case 'RecordUnmountFailure':
      return state.status === 'unmounting' ? [{ type: 'UnmountFailed', data: command.data }] : [];
    case 'RecordUnmounted':
      return state.status === 'none' || state.status === 'unmounted' ? [] : [{ type: 'Unmounted', data: command.data }];
  }
};

const requested = ({ at, ...data }: Request): RestoreMount => ({
  ...data,
  status: 'mounting',
  createdAt: at,
  lastAccessedAt: at,
  partitioned: false,
  partitions: [],
  skipped: [],
  failure: null,
  unmountError: '',
  unmountAttempts: 0,
});

const evolve = (state: RestoreMountState, event: RestoreMountEvent): RestoreMountState => {
  if (event.type === 'MountRequested') return requested(event.data);
  if (state.status === 'none') return state;
  switch (event.type) {
    case 'DiskExposed':
      return state;
    case 'MountCompleted': {
      const { partitioned, partitions, skipped } = event.data;
      return { ...state, status: 'mounted', partitioned, partitions, skipped };
    }
    case 'MountFailed': {
      const { kind, reason } = event.data;
      return { ...state, status: 'unmounting', failure: { kind, reason } };
    }
    case 'MountAccessed':
      return { ...state, lastAccessedAt: event.data.at, expiresAt: event.data.expiresAt };
    case 'UnmountRequested':
      return { ...state, status: 'unmounting', unmountError: '' };
    case 'UnmountFailed':
      return {
        ...state,
        status: 'failed',
        unmountError: event.data.reason,
        unmountAttempts: state.unmountAttempts + 1,
      };
    case 'Unmounted':
      return { ...state, status: 'unmounted', unmountError: '' };
  }
};

/** One disk of a backup, mounted for reading. */
export const restoreMountDecider: Decider<RestoreMountState, RestoreMountCommand, RestoreMountEvent> = {
  initialState: { status: 'none' },
  decide,
  evolve,
};
