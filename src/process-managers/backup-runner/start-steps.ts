import { handle, load } from '#commands/handle.ts';
import type { StepEvent } from '#domain/backup/decide.ts';
import type { FailureKind } from '#domain/backup/events.ts';
import { exportIdFor } from '#domain/backup/ids.ts';
import { type DiskState, isRunning } from '#domain/backup/state.ts';
import { DomainError } from '#domain/errors.ts';
import { nbdPortsDecider } from '#domain/nbd-ports/nbd-ports.ts';
import { streamOf } from '#domain/streams.ts';
import { NodeRefused, NodeUnreachable, PermanentFailure, PortTaken } from '../ports.ts';
import type { BackupRunnerDeps, Work } from './deps.ts';
import { causeOf, tellJob } from './deps.ts';

/** The job cannot go on: becomes its `BackupFailed`. */
export class JobFailure extends Error {
  readonly kind: FailureKind;
  readonly facts: Readonly<Record<string, string | number>>;
  constructor(
    kind: FailureKind,
    message: string,
    facts: Readonly<Record<string, string | number>> = {},
    options?: ErrorOptions,
  ) {
    super(message, options);
    this.name = 'JobFailure';
    this.kind = kind;
    this.facts = facts;
  }
}

/** A backup's clients open two connections an export, and reconnect; with fewer the second waits for ever. */
const sharedConnections = 10;

/** A lease that a running job owns never expires; this bounds those that lost their owner. */
const leaseMs = 24 * 3600 * 1000;

/**
 * Ports of the pool that are not leased and that other programs listen on, as far as they stand before enough free ones:
 * probing costs a system call a port, so the rest of the pool is left alone.
 */
export const occupiedPorts = async (
  { probe, pool }: Pick<BackupRunnerDeps, 'probe' | 'pool'>,
  leased: ReadonlySet<number>,
  wanted: number,
): Promise<readonly number[]> => {
  const occupied: number[] = [];
  let free = 0;
  for (let port = pool.first; port <= pool.last && free < wanted; port += 1) {
    if (leased.has(port)) continue;
    if (await probe.isFree(port)) free += 1;
    else occupied.push(port);
  }
  return occupied;
};

export const assignPorts = async (disks: readonly DiskState[], work: Work): Promise<readonly StepEvent[]> => {
  const { job, deps, context } = work;
  const { store, clock, pool } = deps;
  const { backupId } = job;
  const stream = streamOf.nbdPorts(pool.storageNode);
  const at = clock.now();
  const leased = (await load(store, nbdPortsDecider, stream)).state.leases.map(({ port }) => port);
  const occupied = await occupiedPorts(deps, new Set(leased), disks.length);
  try {
    const { state } = await handle(
      store,
      { decider: nbdPortsDecider, stream },
      {
        type: 'AllocatePorts',
        data: {
          ...{ jobId: backupId, first: pool.first, last: pool.last, occupied, at },
          exportNames: disks.map(({ exportName }) => exportName),
          expiresAt: new Date(Date.parse(at) + leaseMs).toISOString(),
        },
      },
      context,
    );
    const held = state.leases.filter(({ jobId }) => jobId === backupId);
    const ports = disks.flatMap(({ index, exportName }) => {
      const lease = held.find((candidate) => candidate.exportName === exportName);
      return lease ? [{ diskIndex: index, port: lease.port }] : [];
    });
    return [{ type: 'ExportPortsAssigned', data: { backupId, ports, at } }];
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    throw new JobFailure('ports-exhausted', error.message, { asked: disks.length }, { cause: error });
  }
};

export const createImage = async (disk: DiskState, { job, deps, signal }: Work): Promise<readonly StepEvent[]> => {
  const { imagePath, capacityBytes, base, index } = disk;
  const make = async (): Promise<number> => {
    const request = { imagePath, virtualSizeBytes: capacityBytes, ...(base ? { basePath: base.imagePath } : {}) };
    await deps.images.create(request, signal);
    return (await deps.images.inspect(imagePath, signal)).actualSizeBytes;
  };
  const emptyBytes = await make().catch((error: unknown) => {
    if (!(error instanceof PermanentFailure)) throw error;
    throw new JobFailure('image', `the image of disk ${index} cannot be made: ${error.message}`, { disk: index });
  });
  const data = { backupId: job.backupId, diskIndex: index, imagePath, emptyBytes, at: deps.clock.now() };
  return [{ type: 'DiskImageCreated', data }];
};

/** A stranger took the port between the probe and the start: it goes back to the pool and the disk gets another one. */
const losePort = async (disk: DiskState, taken: PortTaken, work: Work): Promise<readonly StepEvent[]> => {
  const { deps, context, job } = work;
  const { backupId } = job;
  const at = deps.clock.now();
  const { port, message: reason } = taken;
  await handle(
    deps.store,
    { decider: nbdPortsDecider, stream: streamOf.nbdPorts(deps.pool.storageNode) },
    { type: 'ReleasePorts', data: { jobId: backupId, ports: [port], reason: 'taken', at } },
    context,
  );
  return [{ type: 'ExportPortLost', data: { backupId, diskIndex: disk.index, port, reason, at } }];
};

export const startExport = async (disk: DiskState, port: number, work: Work): Promise<readonly StepEvent[]> => {
  const { deps, job, signal } = work;
  const { backupId } = job;
  const { index: diskIndex, exportName, imagePath } = disk;
  const request = { exportName, imagePath, port, readOnly: false, sharedConnections };
  try {
    const started = await deps.exporter.start({ exportId: exportIdFor(backupId, diskIndex), ...request }, signal);
    // One that an earlier hub started runs where that hub put it.
    const data = {
      backupId,
      diskIndex,
      port: started.port,
      pid: started.pid,
      exportName,
      imagePath,
      sharedConnections,
      at: deps.clock.now(),
    };
    return [{ type: 'DiskExportStarted', data }];
  } catch (error) {
    if (error instanceof PortTaken) return losePort(disk, error, work);
    if (!(error instanceof PermanentFailure)) throw error;
    const reason = `the export of disk ${diskIndex} cannot be started: ${error.message}`;
    throw new JobFailure('export', reason, { disk: diskIndex }, { cause: error });
  }
};

/** All disks in index order; the client splits at commas, then at the first colon, and looks up its own key. */
export const nbdTargets = (disks: readonly DiskState[]): string =>
  disks.map(({ key, port, exportName }) => `${key}:nbd://127.0.0.1:${port}/${exportName}`).join(',');

const nodeFailure = (error: unknown): unknown => {
  if (error instanceof NodeUnreachable) {
    return new JobFailure(
      'node-unreachable',
      `the node appliance cannot be reached: ${error.message}`,
      {},
      { cause: error },
    );
  }
  if (error instanceof NodeRefused) {
    const facts = { status: error.status, body: error.body };
    return new JobFailure('node-refused', `the node appliance refused: ${error.message}`, facts, { cause: error });
  }
  if (error instanceof PermanentFailure || error instanceof DomainError) {
    return new JobFailure('credential', error.message, {}, { cause: error });
  }
  return error;
};

/**
 * The request is recorded before it is sent: a call whose answer was lost must never be sent again, since a second start is
 * a second client.
 */
export const requestTransfer = async (work: Work): Promise<readonly StepEvent[]> => {
  const { job, deps, context, signal } = work;
  const { backupId, disks, vmName, vmPath, backupType, credentialId } = job;
  const targets = nbdTargets(disks);
  const previousChangeId = (backupType === 'incremental' && disks[0]?.base?.changeId) || null;
  try {
    const login = await deps.vault.loginOf(credentialId, causeOf(context));
    const requested: StepEvent = {
      type: 'TransferRequested',
      data: { backupId, nbdTargets: targets, previousChangeId, at: deps.clock.now() },
    };
    const steps = { backupId, steps: [requested], at: deps.clock.now() };
    const { state } = await tellJob(deps, { type: 'RecordSteps', data: steps }, context);
    // It may have failed meanwhile, and most clients cannot be called back.
    if (!isRunning(state)) return [];
    const { pid } = await deps.node.startBackup(
      {
        ...{ jobId: backupId, vmName, vmPath, ...login, nbdTargets: targets, backupType },
        ...(previousChangeId ? { previousChangeId } : {}),
      },
      signal,
    );
    return [{ type: 'TransferAccepted', data: { backupId, nodePid: pid, at: deps.clock.now() } }];
  } catch (error) {
    throw nodeFailure(error);
  }
};

/** After a crash between request and answer the node is asked; a job that it does not know was never started. */
export const resolveTransfer = async ({ job, deps, signal }: Work): Promise<readonly StepEvent[]> => {
  const { backupId } = job;
  const known = await deps.node.knowsJob(backupId, signal).catch((error: unknown) => {
    throw nodeFailure(error);
  });
  if (known) return [{ type: 'TransferAccepted', data: { backupId, nodePid: null, at: deps.clock.now() } }];
  throw new JobFailure('hub-restart', 'the hub stopped before the node appliance had taken the job');
};
