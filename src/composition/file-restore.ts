import { createMountDisk } from '#commands/mount-disk.ts';
import { type AwaitMount, restoreMountTarget } from '#commands/restore-mount-target.ts';
import { createUnmountDisk } from '#commands/unmount-disk.ts';
import { idFromStream, prefixOf } from '#domain/streams.ts';
import type { Endpoint } from '#http/route.ts';
import { restoreMountEndpoints } from '#http/routes/restore-mounts.ts';
import type { StepObserver } from '#process-managers/ports.ts';
import { type RestoreMounts, runRestoreMounts } from '#process-managers/restore-mounts/run.ts';
import { restoreMountQueries } from '#projections/restore-mounts.ts';
import type { EndpointDeps } from './endpoints.ts';
import type { MountServices } from './mount-services.ts';
import { clock, ids } from './services.ts';
import { createStreamWatch } from './stream-watch.ts';

type RunnerDeps = Pick<EndpointDeps, 'stores' | 'log'> &
  Readonly<{ services: Readonly<{ mounts: MountServices }>; steps?: StepObserver }>;

/** The process manager of mounts, for the hub that holds the storage node's lease. */
export const startRestoreMounts = (deps: RunnerDeps, signal: AbortSignal): RestoreMounts => {
  const { stores, log, steps } = deps;
  const { disks, holds, storageNode, cleanup } = deps.services.mounts;
  const runner = runRestoreMounts(
    {
      deps: { store: stores.store, clock, ids, disks, holds, storageNode, ...(steps ? { steps } : {}) },
      feed: stores.feed,
      onProblem: ({ what, mountId, error }) => log.warn({ err: error, mountId }, what),
      onSwept: () => {
        cleanup.lastAt = clock.now();
      },
    },
    signal,
  );
  cleanup.running = true;
  void runner.done.finally(() => {
    cleanup.running = false;
  });
  return runner;
};

/** Longer than the replay of a large journal takes. */
const patienceMs = 60_000;

const endings: ReadonlySet<string> = new Set(['UnmountRequested', 'MountFailed', 'Unmounted']);

/** What mounts disks and unmounts them, each answering once it is done. */
export const mountCommands = ({ stores, services, readModel }: EndpointDeps) => {
  const { store } = stores;
  const { host, storageNode, idleSeconds } = services.mounts;
  const watch = createStreamWatch({
    ...{ store, applied: readModel.applied, waitFor: readModel.runner.waitFor, patienceMs },
  });
  const awaitMount: AwaitMount = (mountId, until, signal) => watch({ ...restoreMountTarget(mountId), until }, signal);
  return {
    mountDisk: createMountDisk({ store, clock, ids, host, storageNode, idleSeconds, awaitMount }),
    unmountDisk: createUnmountDisk({ store, clock, awaitMount }),
  };
};

/** Mounts of disks. */
export const fileRestoreEndpoints = (deps: EndpointDeps): readonly Endpoint[] => {
  const { stores, services, readModel } = deps;
  const { host, holds, storageNode, idleSeconds, sweepSeconds, cleanup } = services.mounts;
  // Whichever hub unmounts: whoever reads through this one is told as well.
  readModel.applied.subscribe(({ stream, event }) => {
    if (stream.startsWith(prefixOf('restoreMount')) && endings.has(event.type))
      void holds.breakOff(idFromStream(stream), 0);
  });
  return restoreMountEndpoints({
    ...mountCommands(deps),
    mounts: restoreMountQueries(stores.database.readModel),
    ...{ lastAccess: holds.lastAccess, ability: host.ability, storageNode, now: clock.now },
    cleanup: () => ({ ...cleanup, everySeconds: sweepSeconds, idleSeconds }),
  });
};
