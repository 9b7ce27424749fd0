import { randomUUID } from 'node:crypto';
import { type ScheduledTask, schedule } from 'node-cron';
import type { Logger } from 'pino';
import { createForgetReplacedPasswords } from '#commands/credential-secrets.ts';
import type { CommandContext } from '#commands/ports.ts';
import { createRemoveRepository } from '#commands/remove-repository.ts';
import type { Config } from '#infra/config.ts';
import { holdLease } from '#infra/postgres/lease.ts';
import { type BackupRunner, runBackups } from '#process-managers/backup-runner/run.ts';
import { createStaleSweep } from '#process-managers/stale-backups.ts';
import { type EndpointDeps, repositoryDirectory } from './endpoints.ts';
import { clock, ids } from './services.ts';
import type { Stores } from './stores.ts';

type Deps = Pick<EndpointDeps, 'services' | 'readModel' | 'log'> &
  Readonly<{ stores: Stores; config: Pick<Config, 'jobs' | 'nodeName'> }>;

export type Background = Readonly<{
  status: () => readonly Readonly<{ name: string; running: boolean; openJobs: number }>[];
  /** Ends with the signal, after the last step. */
  done: Promise<void>;
}>;

/** Jobs worked on side by side; each step is a process or a call, most of the time a job waits for its client. */
const parallelJobs = 16;
const catchUpPatienceMs = 600_000;
const leaseSweepSeconds = 60;

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
const sweep = (seconds: number, name: string, work: () => Promise<void>, log: Logger): ScheduledTask =>
  schedule(
    everySeconds(seconds),
    () => work().catch((error: unknown) => log.error({ err: error, sweep: name }, 'a sweep failed')),
    { name, noOverlap: true },
  );

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
      deps: { store: stores.store, clock, ids, images, exporter, probe, sideFiles, node: sna, vault, pool },
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
  const work = async (held: AbortSignal): Promise<void> => {
    log.info({ node: config.nodeName }, 'process managers run here');
    const sweeps = [
      sweep(config.jobs.staleCheckSeconds, 'stale backups', staleSweep(deps, hubStartedAt), log),
      sweep(leaseSweepSeconds, 'expired port leases', () => services.leases.sweep(systemContext()), log),
    ];
    runner = startRunner(deps, held);
    try {
      await finishInterrupted(deps).catch((error: unknown) =>
        log.warn({ err: error }, 'cleaning up after a crash failed'),
      );
      await runner.done;
    } finally {
      await Promise.all(sweeps.map((task) => task.destroy()));
      runner = undefined;
    }
  };
  const name = `sendense-node-${config.nodeName}`;
  const onProblem = (error: unknown): void => log.warn({ err: error }, 'the lease of the storage node is not held');
  return {
    status: () => {
      const status = runner?.status();
      return [{ name: 'backup-runner', running: status?.running ?? false, openJobs: status?.openJobs ?? 0 }];
    },
    done: holdLease({ settings: stores.postgres, name, work, onProblem }, signal),
  };
};
