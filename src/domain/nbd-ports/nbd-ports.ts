import type { Decider } from '../decider.ts';
import { DomainError } from '../errors.ts';
import type { Versions } from '../event-versions.ts';

export type PortLease = Readonly<{
  port: number;
  jobId: string;
  exportName: string;
  allocatedAt: string;
  /** After this a lease that no running job owns may be freed. */
  expiresAt: string;
}>;

export type NbdPortsEvent =
  | Readonly<{ type: 'NbdPortsAllocated'; data: Readonly<{ leases: readonly PortLease[] }> }>
  | Readonly<{
      type: 'NbdPortsReleased';
      data: Readonly<{ jobId: string; ports: readonly number[]; reason: 'released' | 'expired' | 'taken'; at: string }>;
    }>
  | Readonly<{ type: 'NbdPortsCarriedForward'; data: Readonly<{ leases: readonly PortLease[] }> }>;

export type NbdPortsState = Readonly<{ leases: readonly PortLease[] }>;

export type NbdPortsCommand =
  | Readonly<{
      type: 'AllocatePorts';
      data: Readonly<{
        jobId: string;
        /** One port each, in this order. */
        exportNames: readonly string[];
        first: number;
        last: number;
        /** Ports bound by other programs right now. */
        occupied: readonly number[];
        at: string;
        expiresAt: string;
      }>;
    }>
  | Readonly<{
      type: 'ReleasePorts';
      data: Readonly<{
        jobId: string;
        /** Empty: all of the job's. */
        ports: readonly number[];
        reason: 'released' | 'expired' | 'taken';
        at: string;
      }>;
    }>;

type Allocate = Extract<NbdPortsCommand, { type: 'AllocatePorts' }>['data'];
type Release = Extract<NbdPortsCommand, { type: 'ReleasePorts' }>['data'];

/** All or nothing, lowest free port first; a repeat of the same request keeps what it got. */
const allocate = (data: Allocate, state: NbdPortsState): readonly NbdPortsEvent[] => {
  const { jobId, exportNames, first, last, occupied, at, expiresAt } = data;
  const held = state.leases.filter((lease) => lease.jobId === jobId);
  const missing = exportNames.filter((name) => !held.some((lease) => lease.exportName === name));
  if (missing.length === 0) return [];
  const unusable = new Set([...occupied, ...state.leases.map((lease) => lease.port)]);
  const free: number[] = [];
  for (let port = first; port <= last && free.length < missing.length; port += 1) {
    if (!unusable.has(port)) free.push(port);
  }
  if (free.length < missing.length) {
    throw new DomainError('nbd-ports-exhausted', 'not enough free NBD ports; wait for running jobs to end', {
      asked: missing.length,
      free: free.length,
    });
  }
  const leases = missing.map((exportName, index) => ({
    ...{ port: free[index] as number, jobId, exportName },
    allocatedAt: at,
    expiresAt,
  }));
  return [{ type: 'NbdPortsAllocated', data: { leases } }];
};

const release = ({ jobId, ports, reason, at }: Release, state: NbdPortsState): readonly NbdPortsEvent[] => {
  const freed = state.leases
    .filter((lease) => lease.jobId === jobId && (ports.length === 0 || ports.includes(lease.port)))
    .map((lease) => lease.port);
  return freed.length === 0 ? [] : [{ type: 'NbdPortsReleased', data: { jobId, ports: freed, reason, at } }];
};

const decide = (command: NbdPortsCommand, state: NbdPortsState): readonly NbdPortsEvent[] => {
  switch (command.type) {
    case 'AllocatePorts':
      return allocate(command.data, state);
    case 'ReleasePorts':
      return release(command.data, state);
  }
};

const evolve = (state: NbdPortsState, event: NbdPortsEvent): NbdPortsState => {
  switch (event.type) {
    case 'NbdPortsAllocated':
      return { leases: [...state.leases, ...event.data.leases] };
    case 'NbdPortsReleased':
      return {
        leases: state.leases.filter(
          (lease) => lease.jobId !== event.data.jobId || !event.data.ports.includes(lease.port),
        ),
      };
    case 'NbdPortsCarriedForward':
      return { leases: event.data.leases };
  }
};

/** One pool for a storage node's NBD ports; a stream without an end, so its state is carried forward. */
export const nbdPortsDecider: Decider<NbdPortsState, NbdPortsCommand, NbdPortsEvent> = {
  initialState: { leases: [] },
  decide,
  evolve,
  isWholeState: (event) => event.type === 'NbdPortsCarriedForward',
  carryForward: {
    everyEvents: 200,
    toEvent: ({ leases }) => ({ type: 'NbdPortsCarriedForward', data: { leases } }),
  },
};

export const nbdPortsEventVersions: Versions<NbdPortsEvent> = {
  NbdPortsAllocated: 1,
  NbdPortsReleased: 1,
  NbdPortsCarriedForward: 1,
};
