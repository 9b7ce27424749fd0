import { randomUUID } from 'node:crypto';
import { type ScheduledTask, schedule } from 'node-cron';
import { createForgetReplacedPasswords } from '#commands/credential-secrets.ts';
import type { CommandContext } from '#commands/ports.ts';
import { createRemoveRepository } from '#commands/remove-repository.ts';
import type { Config } from '#infra/config.ts';
import { holdLease } from '#infra/postgres/lease.ts';
import { type BackupRunner, runBackups } from '#process-managers/backup-runner/run.ts';
import type { DiskRestores } from '#process-managers/disk-restores/run.ts';
import type { StepObserver, SweepObserver } from '#process-managers/ports.ts';
import type { RestoreMounts } from '#process-managers/restore-mounts/run.ts';
import { createStaleSweep } from '#process-managers/stale-backups.ts';
import { startDiskRestores } from './disk-restores.ts';
import { type EndpointDeps, repositoryDirectory } from './endpoints.ts';
import { createEventExport, type EventExport, type EventExportStatus } from './event-export.ts';
import { startRestoreMounts } from './file-restore.ts';
import { clock, ids } from './services.ts';
import type { Stores } from './stores.ts';

type Deps = Pick<EndpointDeps, 'services' | 'readModel' | 'log'> &
  Readonly<{
    stores: Stores;
    config: Pick<Config, 'jobs' | 'nodeName' | 'eventExport' | 'vault' | 'restore'>;
    steps?: StepObserver;
    sweeps?: SweepObserver;
  }> &
  Readonly<{ writeAuditAnchors: () => Promise<void> }>;

export type Background = Readonly<{
  status: () => readonly Readonly<{ name: string; running: boolean; openJobs: number }>[];
  eventExport: () => EventExportStatus;
  /** Ends with the signal, after the last step. */
  done: Promise<void>;
}>;

/** Jobs worked on side by side; each step is a process or a call, most of the time a job waits for its client. */
const parallelJobs = 16;
const catchUpPatienceMs = 600_000;
const leaseSweepSeconds = 60;
const anchorSweepSeconds = 300;

/** A cron step in the seconds field works up to a minute; beyond that, minutes. */
const everySeconds = (seconds: number): string =>
  seconds < 60
    ? `*/${Math.max(1, Math.floor(seconds))} * * * * *`
    : `0 */${Math.min(59, Math.round(seconds / 60))} * * * *`;

const systemContext = (): CommandContext => {
  const commandId = randomUUID();
  return { actor: 'system', correlationId: commandId, commandId };
};

/** One sweep at a time; one that fails is told and comes again. */
const sweep = (
  seconds: number,
  name: string,
  work: () => Promise<void>,
  { log, sweeps }: Pick<Deps, 'log' | 'sweeps'>,
): ScheduledTask => {
  const watched = sweeps?.watch({ name, seconds }, work) ?? work;
  return schedule(
    everySeconds(seconds),
    () => watched().catch((error: unknown) => log.error({ err: error, sweep: name }, 'a sweep failed')),
    { name, noOverlap: true },
  );
};

const staleSweep = ({ stores, services, config }: Deps, hubStartedAt: string) =>
  createStaleSweep({
    ...{ store: stores.store, clock, ids, hubStartedAt },
    openBackups: services.queries.backups.running,
    limits: {
      stalledSeconds: config.jobs.stallSeconds,
      failedSeconds: config.jobs.staleFailSeconds,
      neverHeardSeconds: config.jobs.startFailSeconds,
    },
  });

const startRunner = (deps: Deps, signal: AbortSignal): BackupRunner => {
  const { stores, services, readModel, log } = deps;
  const { images, exporter, probe, sideFiles, sna, vault, pool } = services;
  return runBackups(
    {
      deps: {
        ...{ store: stores.store, clock, ids, images, exporter, probe, sideFiles, node: sna, vault, pool },
        ...(deps.steps ? { steps: deps.steps } : {}),
      },
      feed: stores.feed,
      openJobs: async (position) => {
        if (!(await readModel.runner.waitFor(position, catchUpPatienceMs))) throw new Error('the read model lags');
        return services.queries.backups.open();
      },
      parallelJobs,
      onProblem: ({ what, backupId, error }) => log.warn({ err: error, backupId }, what),
    },
    signal,
  );
};

const eventExportSweep = (deps: Deps, { run }: EventExport, signal: AbortSignal): readonly ScheduledTask[] => {
  const { repository, everySeconds } = deps.config.eventExport;
  return repository === undefined ? [] : [sweep(everySeconds, 'export of events', () => run(signal), deps)];
};

/** What a crash may have cut short in the middle. */
const finishInterrupted = async (deps: Deps): Promise<void> => {
  const { stores, services } = deps;
  const directory = repositoryDirectory(deps);
  await createRemoveRepository({ store: stores.store, clock, directory }).resume(systemContext());
  await createForgetReplacedPasswords({ store: stores.store, vault: services.secrets, clock })();
};

/**
 * The work of a storage node: process managers and sweeps. Hubs of one node compete for its lease; the holder works, the
 * others serve the API.
 */
export const startBackground = (deps: Deps, hubStartedAt: string, signal: AbortSignal): Background => {
  const { stores, services, config, log } = deps;
  let runner: BackupRunner | undefined;
  let mounts: RestoreMounts | undefined;
  let diskRestores: DiskRestores | undefined;
  const eventExport = createEventExport({ stores, services, config, log: log.child({ part: 'event-export' }) });
  const work = async (held: AbortSignal): Promise<void> => {
    log.info({ node: config.nodeName }, 'process managers run here');
    const sweeps = [
      sweep(config.jobs.staleCheckSeconds, 'stale backups', staleSweep(deps, hubStartedAt), deps),
      sweep(leaseSweepSeconds, 'expired port leases', () => services.leases.sweep(systemContext()), deps),
      sweep(anchorSweepSeconds, 'audit anchors', deps.writeAuditAnchors, deps),
      ...eventExportSweep(deps, eventExport, held),
    ];
    runner = startRunner(deps, held);
    mounts = startRestoreMounts(deps, held);
    diskRestores = startDiskRestores(deps, held);
    sweeps.push(sweep(config.restore.sweepSeconds, 'expired mounts', mounts.sweep, deps));
    try {
      await finishInterrupted(deps).catch((error: unknown) =>
        log.warn({ err: error }, 'cleaning up after a crash failed'),
      );
      await Promise.all([runner.done, mounts.done, diskRestores.done]);
    } finally {
      await Promise.all(sweeps.map((task) => task.destroy()));
      await deps.writeAuditAnchors().catch((error: unknown) => log.warn({ err: error }, 'no anchors at the stop'));
      await eventExport.finish();
      runner = undefined;
      mounts = undefined;
      diskRestores = undefined;
    }
  };
  const name = `sendense-node-${config.nodeName}`;
  const onProblem = (error: unknown): void => log.warn({ err: error }, 'the lease of the storage node is not held');
  return {
    status: () => {
      const status = runner?.status();
      const backups = { name: 'backup-runner', running: status?.running ?? false, openJobs: status?.openJobs ?? 0 };
      const restores = { name: 'restore-mounts', ...(mounts?.status() ?? { running: false, openJobs: 0 }) };
      const disks = { name: 'disk-restores', ...(diskRestores?.status() ?? { running: false, openJobs: 0 }) };
      return [backups, restores, disks, ...eventExport.health()];
    },
    eventExport: eventExport.status,
    done: holdLease({ settings: stores.postgres, name, work, onProblem }, signal),
  };
};
