import { backupDecider } from '#domain/backup/decide.ts';
import { isRunning } from '#domain/backup/state.ts';
import { DomainError } from '#domain/errors.ts';
import { nbdPortsDecider, type PortLease } from '#domain/nbd-ports/nbd-ports.ts';
import { streamOf } from '#domain/streams.ts';
import { handle, load } from './handle.ts';
import { afterNewest } from './newest-event.ts';
import type { Clock, CommandContext, EventStore } from './ports.ts';

type Deps = Readonly<{
  store: EventStore;
  clock: Clock;
  pool: Readonly<{ storageNode: string; first: number; last: number }>;
  /** Ports of the pool that are not leased and that other programs listen on, before enough free ones. */
  occupiedPorts: (leased: ReadonlySet<number>, wanted: number) => Promise<readonly number[]>;
  /** Ports that running exports serve. */
  servedPorts: () => Promise<ReadonlySet<number>>;
}>;

export type LeaseRequest = Readonly<{ jobId: string; exportName: string; diskCount: number }>;

export type NbdLeases = ReturnType<typeof createNbdLeases>;

/** A lease that nobody renews by a running job is freed after a day. */
const leaseMs = 24 * 3600 * 1000;

const namesOf = ({ exportName, diskCount }: LeaseRequest): readonly string[] =>
  diskCount === 1 ? [exportName] : Array.from({ length: diskCount }, (_, disk) => `${exportName}-disk${disk}`);

/** Whether a lease's name is one that `namesOf` made, whatever the number of disks was. */
const isNameOf = (leased: string, exportName: string): boolean =>
  leased === exportName ||
  (leased.startsWith(`${exportName}-disk`) && /^\d+$/.test(leased.slice(exportName.length + 5)));

/** Leases of NBD ports for jobs of other kinds, and the sweep of those that nobody uses any more. */
export const createNbdLeases = (deps: Deps) => {
  const { store, clock, pool } = deps;
  const target = { decider: nbdPortsDecider, stream: streamOf.nbdPorts(pool.storageNode) };
  const leases = async (): Promise<readonly PortLease[]> =>
    (await load(store, target.decider, target.stream)).state.leases;

  const allocate = async (request: LeaseRequest, context: CommandContext): Promise<readonly PortLease[]> => {
    const { jobId, exportName } = request;
    const exportNames = namesOf(request);
    const all = await leases();
    const held = all.filter((lease) => lease.jobId === jobId && isNameOf(lease.exportName, exportName));
    if (held.length > 0 && held.length !== exportNames.length) {
      throw new DomainError(
        'nbd-lease-conflict',
        `${jobId} holds ${held.length} ports for ${exportName}; release them first`,
        {
          held: held.length,
        },
      );
    }
    const occupied = await deps.occupiedPorts(new Set(all.map(({ port }) => port)), exportNames.length);
    const at = clock.now();
    const expiresAt = new Date(Date.parse(at) + leaseMs).toISOString();
    const { first, last } = pool;
    const data = { jobId, exportNames, first, last, occupied, at, expiresAt };
    const { state } = await handle(store, target, { type: 'AllocatePorts', data }, context);
    return exportNames.flatMap(
      (name) => state.leases.find((lease) => lease.jobId === jobId && lease.exportName === name) ?? [],
    );
  };

  const release = async (jobId: string, ports: readonly number[], context: CommandContext): Promise<number> => {
    const served = await deps.servedPorts();
    const mine = (await leases()).filter(
      (lease) => lease.jobId === jobId && (ports.length === 0 || ports.includes(lease.port)),
    );
    const busy = mine.find(({ port }) => served.has(port));
    if (busy) {
      throw new DomainError('nbd-port-in-use', `port ${busy.port} is still served; stop its export first`, {
        port: busy.port,
      });
    }
    const data = { jobId, ports, reason: 'released', at: clock.now() } as const;
    const { events } = await handle(store, target, { type: 'ReleasePorts', data }, context);
    return events.reduce((sum, event) => sum + (event.type === 'NbdPortsReleased' ? event.data.ports.length : 0), 0);
  };

  /** Frees what has expired, unless a running backup or a running export still has it. */
  const sweep = async (system: CommandContext): Promise<void> => {
    const now = clock.now();
    const expired = (await leases()).filter((lease) => lease.expiresAt < now);
    if (expired.length === 0) return;
    const served = await deps.servedPorts();
    const context = await afterNewest(store, target.stream, system);
    for (const { jobId, port } of expired) {
      if (served.has(port)) continue;
      const { state } = await load(store, backupDecider, streamOf.backup(jobId));
      if (isRunning(state)) continue;
      await handle(
        store,
        target,
        { type: 'ReleasePorts', data: { jobId, ports: [port], reason: 'expired', at: now } },
        context,
      );
    }
  };

  return { leases, allocate, release, sweep };
};
