import type { Config } from '#infra/config.ts';
import { createRestoreTargets } from '#infra/restore-targets.ts';
import type { RepositoryQueries } from '#projections/repositories.ts';

/** Where restored disks may be written to. */
export const restoreTargetsOf = (
  { dataDir, nbd, diskRestore }: Pick<Config, 'dataDir' | 'nbd' | 'diskRestore'>,
  repositories: Pick<RepositoryQueries, 'list'>,
) =>
  createRestoreTargets({
    ...diskRestore,
    ownPorts: { first: nbd.firstPort, last: nbd.lastPort },
    keepOut: async () => [dataDir, ...(await repositories.list()).map(({ path }) => path)],
  });
