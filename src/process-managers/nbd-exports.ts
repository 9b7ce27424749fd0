import { handle } from '#commands/handle.ts';
import type { NbdLeases } from '#commands/nbd-leases.ts';
import type { Clock, CommandContext, EventStore } from '#commands/ports.ts';
import { backupDecider } from '#domain/backup/decide.ts';
import { DomainError } from '#domain/errors.ts';
import { nbdExportDecider } from '#domain/nbd-export/nbd-export.ts';
import { streamOf } from '#domain/streams.ts';
import { backupOfExport } from './export-owner.ts';
import { type DiskExport, type DiskExporter, PermanentFailure, PortTaken } from './ports.ts';

type Deps = Readonly<{
  store: EventStore;
  clock: Clock;
  exporter: DiskExporter;
  leases: Pick<NbdLeases, 'leases' | 'release'>;
  /** The real path of an existing image inside an enabled repository. Throws `image-not-found`, `image-outside-repositories`. */
  resolveImage: (path: string) => Promise<string>;
}>;

export type NbdExports = ReturnType<typeof createNbdExports>;

export type ManualExport = Readonly<{
  exportName: string;
  port: number;
  imagePath: string;
  readOnly: boolean;
  sharedConnections: number;
}>;

const startError = (error: unknown, request: ManualExport): unknown => {
  const { port, imagePath, exportName } = request;
  if (error instanceof PortTaken) {
    return new DomainError('nbd-port-in-use', `port ${port} is in use by another program`, { port }, { cause: error });
  }
  if (!(error instanceof PermanentFailure)) return error;
  return /\block\b/i.test(error.message)
    ? new DomainError('image-locked', 'another process has the image open for writing', { imagePath }, { cause: error })
    : new DomainError('local-failure', `${exportName} cannot be exported`, { output: error.message }, { cause: error });
};

/** Exports that people and other programs start and stop by hand. The process first, then its record. */
export const createNbdExports = (deps: Deps) => {
  const { store, clock, exporter, leases } = deps;

  const start = async (request: ManualExport, context: CommandContext, signal: AbortSignal): Promise<DiskExport> => {
    const { exportName, port, readOnly, sharedConnections } = request;
    const leased = (await leases.leases()).some((lease) => lease.port === port);
    if (!leased) {
      throw new DomainError('nbd-port-not-allocated', `port ${port} is not allocated; allocate it first`, { port });
    }
    const imagePath = await deps.resolveImage(request.imagePath);
    if ((await exporter.list()).some((running) => running.port === port)) {
      throw new DomainError('nbd-port-in-use', `port ${port} is already served`, { port });
    }
    const exportId = `manual-${port}-${exportName}`;
    const started = await exporter
      .start({ exportId, exportName, imagePath, port, readOnly, sharedConnections }, signal)
      .catch((error: unknown) => {
        throw startError(error, request);
      });
    const data = {
      exportId,
      exportName,
      port,
      imagePath,
      pid: started.pid,
      readOnly,
      sharedConnections,
      at: clock.now(),
    };
    const target = { decider: nbdExportDecider, stream: streamOf.nbdExport(exportId) };
    await handle(store, target, { type: 'RecordExportStart', data }, context);
    return started;
  };

  const refuseMismatch = async (pid: number, exportName: string): Promise<void> => {
    const either = (await exporter.list()).some((each) => each.pid === pid || each.exportName === exportName);
    if (either) {
      throw new DomainError('invalid-request', `process ${pid} does not serve ${exportName}; name one of them only`, {
        pid,
      });
    }
  };

  const find = async (wanted: Readonly<{ pid?: number; exportName?: string }>): Promise<DiskExport> => {
    const found = (await exporter.list()).find(
      ({ pid, exportName }) =>
        (wanted.pid === undefined || pid === wanted.pid) &&
        (wanted.exportName === undefined || exportName === wanted.exportName),
    );
    if (found) return found;
    if (wanted.pid !== undefined && wanted.exportName !== undefined)
      await refuseMismatch(wanted.pid, wanted.exportName);
    throw new DomainError('nbd-export-not-found', 'no export of this hub matches', {
      ...(wanted.pid === undefined ? {} : { pid: wanted.pid }),
      ...(wanted.exportName === undefined ? {} : { exportName: wanted.exportName }),
    });
  };

  /** Ends an export; a backup that it serves fails at once, with who asked for it as the reason. */
  const stop = async (
    wanted: Readonly<{ pid?: number; exportName?: string }>,
    context: CommandContext,
    signal: AbortSignal,
  ): Promise<number> => {
    const { exportId, pid, port } = await find(wanted);
    const at = clock.now();
    const detail = `stopped by ${context.actor}`;
    const owner = backupOfExport(exportId);
    if (owner) {
      const target = { decider: backupDecider, stream: streamOf.backup(owner.backupId) };
      await handle(store, target, { type: 'RecordExportDeath', data: { ...owner, pid, detail, at } }, context);
    }
    await exporter.stop(exportId, signal);
    if (!owner) {
      const target = { decider: nbdExportDecider, stream: streamOf.nbdExport(exportId) };
      const data = { exportId, port, reason: 'stopped', detail, at } as const;
      await handle(store, target, { type: 'RecordExportEnd', data }, context);
      const lease = (await leases.leases()).find((held) => held.port === port);
      if (lease) await leases.release(lease.jobId, [port], context);
    }
    return pid;
  };

  return { start, stop };
};
