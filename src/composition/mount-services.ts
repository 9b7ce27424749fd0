import { join } from 'node:path';
import type { Logger } from 'pino';
import { createMountAccess } from '#commands/mount-access.ts';
import type { Clock, EventStore, Ids } from '#commands/ports.ts';
import type { Config } from '#infra/config.ts';
import { createDiskMounts } from '#infra/mounts/disk-mounts.ts';
import { createFuseExposure } from '#infra/mounts/fuse-disk.ts';
import { createMountHost } from '#infra/mounts/mount-host.ts';
import { createNbdExposure } from '#infra/mounts/nbd-disk.ts';

type Deps = Readonly<{
  config: Pick<Config, 'dataDir' | 'nodeName' | 'restore'>;
  store: EventStore;
  clock: Clock;
  ids: Ids;
  log: Logger;
}>;

/** Reads are told to the log this often, or more often where mounts end sooner than usual. */
const recordEverySeconds = (idleSeconds: number): number => Math.min(60, Math.max(1, idleSeconds / 4));

export type MountServices = ReturnType<typeof createMountServices>;

/** What mounts disks of backups; nothing runs yet. */
export const createMountServices = ({ config, store, clock, ids, log }: Deps) => {
  const { mountDir: restoreDir, driver, idleSeconds, sweepSeconds } = config.restore;
  const runtimeDir = join(config.dataDir, 'mounts');
  const cleanup: { running: boolean; lastAt: string | null } = { running: false, lastAt: null };
  return {
    host: createMountHost({ runtimeDir, restoreDir, driver }),
    disks: createDiskMounts({
      ...{ runtimeDir, restoreDir },
      exposures: { fuse: createFuseExposure(), nbd: createNbdExposure() },
    }),
    holds: createMountAccess({
      ...{ store, clock, ids, idleSeconds, recordEverySeconds: recordEverySeconds(idleSeconds) },
      onProblem: (error) => log.warn({ err: error }, 'an access to a mount is not recorded'),
    }),
    ...{ storageNode: config.nodeName, idleSeconds, sweepSeconds, cleanup },
  };
};
