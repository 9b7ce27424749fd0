import { handle, load } from '#commands/handle.ts';
import { newestEventOf } from '#commands/newest-event.ts';
import type { EventFeed } from '#commands/ports.ts';
import { backupDecider } from '#domain/backup/decide.ts';
import { exportIdFor } from '#domain/backup/ids.ts';
import { isRunning } from '#domain/backup/state.ts';
import { nbdExportDecider } from '#domain/nbd-export/nbd-export.ts';
import { nbdPortsDecider } from '#domain/nbd-ports/nbd-ports.ts';
import { idFromStream, prefixOf, streamOf } from '#domain/streams.ts';
import { backupOfExport } from '../export-owner.ts';
import { keepFollowing } from '../following.ts';
import type { DiskExport } from '../ports.ts';
import { createRetriedLooks } from '../retried-looks.ts';
import { type BackupRunnerDeps, runnerContext, tellJob } from './deps.ts';
import { settle } from './perform.ts';

export type RunnerOptions = Readonly<{
  deps: BackupRunnerDeps;
  feed: EventFeed;
  /** Jobs that are not closed or whose removal was asked for, as of at least `position`. */
  openJobs: (position: bigint, signal: AbortSignal) => Promise<readonly string[]>;
  /** Different jobs are worked on side by side up to this. */
  parallelJobs: number;
  onProblem: (problem: Readonly<{ what: string; backupId?: string; error: unknown }>) => void;
}>;

export type RunnerStatus = Readonly<{ running: boolean; openJobs: number; problem: string | null }>;

export interface BackupRunner {
  status(): RunnerStatus;
  /** Ends when the signal has aborted and no step is under way. */
  readonly done: Promise<void>;
}

/**
 * Keeps every backup going. An event only says "look at this job"; what there is to do follows from the job's own stream,
 * so resuming after a crash is the normal path: all open jobs are looked at before the feed goes live.
 */
export const runBackups = (options: RunnerOptions, signal: AbortSignal): BackupRunner => {
  const { deps, feed, onProblem } = options;
  let problem: string | null = null;
  const looks = createRetriedLooks(
    {
      limit: options.parallelJobs,
      look: (backupId, cause) => settle(backupId, deps, cause, signal),
      onFailed: (backupId, error) =>
        onProblem({ what: 'a step of a backup failed and is tried again', backupId, error }),
    },
    signal,
  );

  /** An exit that nobody asked for ends the backup that it served, at once. */
  const recordDeath = async (ended: DiskExport & Readonly<{ detail: string }>): Promise<void> => {
    const { exportId, pid, detail, port } = ended;
    const at = deps.clock.now();
    const job = backupOfExport(exportId);
    const stream = job ? streamOf.backup(job.backupId) : streamOf.nbdExport(exportId);
    const context = runnerContext(deps.ids, job?.backupId ?? exportId, await newestEventOf(deps.store, stream));
    if (job) {
      await tellJob(deps, { type: 'RecordExportDeath', data: { ...job, pid, detail, at } }, context);
      return;
    }
    const target = { decider: nbdExportDecider, stream: streamOf.nbdExport(exportId) };
    const data = { exportId, port, reason: 'died', detail, at } as const;
    await handle(deps.store, target, { type: 'RecordExportEnd', data }, context);
    const ports = { decider: nbdPortsDecider, stream: streamOf.nbdPorts(deps.pool.storageNode) };
    const lease = (await load(deps.store, ports.decider, ports.stream)).state.leases.find((held) => held.port === port);
    if (!lease) return;
    const released = { jobId: lease.jobId, ports: [port], reason: 'released', at } as const;
    await handle(deps.store, ports, { type: 'ReleasePorts', data: released }, context);
  };

  /** What runs but belongs to no unfinished job is stopped: its hub died between the start and the record, or after the end. */
  const stopStrays = async (): Promise<void> => {
    for (const { exportId } of await deps.exporter.list()) {
      const job = backupOfExport(exportId);
      if (!job) continue;
      const { state } = await load(deps.store, backupDecider, streamOf.backup(job.backupId));
      if (state.status === 'none' || state.closed) await deps.exporter.stop(exportId, signal);
    }
  };

  /** Exports that ended while no hub was there to see it. */
  const recordLostExports = async (backupId: string): Promise<void> => {
    const { state } = await load(deps.store, backupDecider, streamOf.backup(backupId));
    if (!isRunning(state)) return;
    const alive = new Set((await deps.exporter.list()).map(({ exportId }) => exportId));
    const lost = state.disks.find((disk) => disk.export === 'running' && !alive.has(exportIdFor(backupId, disk.index)));
    if (!lost) return;
    const data = {
      backupId,
      diskIndex: lost.index,
      pid: 0,
      detail: 'it was gone when the hub started',
      at: deps.clock.now(),
    };
    const cause = await newestEventOf(deps.store, streamOf.backup(backupId));
    await tellJob(deps, { type: 'RecordExportDeath', data }, runnerContext(deps.ids, backupId, cause));
  };

  const resume = async (position: bigint): Promise<void> => {
    await stopStrays();
    for (const backupId of await options.openJobs(position, signal)) {
      await recordLostExports(backupId);
      looks.request(backupId, undefined);
    }
  };

  const follow = async (live: () => void): Promise<void> => {
    const position = await feed.head(signal);
    await resume(position);
    live();
    problem = null;
    for await (const item of feed.subscribe(position, { streamPrefixes: [prefixOf('backup')] }, signal)) {
      if (item.kind === 'events') for (const { stream, id } of item.events) looks.request(idFromStream(stream), id);
    }
  };

  const unsubscribe = deps.exporter.onUnexpectedExit((ended) => {
    recordDeath(ended).catch((error: unknown) => onProblem({ what: 'the death of an export is not recorded', error }));
  });
  const onBroken = (error: unknown): void => {
    problem = error instanceof Error ? error.message : String(error);
    onProblem({ what: 'the feed of backups broke and is opened again', error });
  };
  const following = keepFollowing(follow, onBroken, signal);
  const end = async (): Promise<void> => {
    await following.done;
    unsubscribe();
    await looks.close();
  };

  return { status: () => ({ running: following.isLive(), openJobs: looks.open, problem }), done: end() };
};
