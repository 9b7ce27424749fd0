import { createHash } from 'node:crypto';
import { createBrowseFiles } from '#commands/browse-files.ts';
import { createDownloadFiles } from '#commands/download-files.ts';
import { createFileVersions } from '#commands/file-versions.ts';
import { slotHolders } from '#commands/mount-slots.ts';
import type { Endpoint } from '#http/route.ts';
import { fileVersionsEndpoints } from '#http/routes/file-versions.ts';
import { createAccessAudit } from '#http/routes/restore-files-audit.ts';
import { createFileTrees } from '#infra/backup-files/file-trees.ts';
import type { EndpointDeps } from './endpoints.ts';
import { mountCommands } from './file-restore.ts';

const sha256 = () => {
  const hash = createHash('sha256');
  return { update: (bytes: Uint8Array) => hash.update(bytes), digest: () => hash.digest('hex') };
};

/** The versions of a file across backups, mounting what is not mounted. */
export const fileVersions = (deps: EndpointDeps): readonly Endpoint[] => {
  const { stores, services, log } = deps;
  const { holds, storageNode } = services.mounts;
  const files = { mounts: holds, trees: createFileTrees() };
  const isMounted = async ({ backupId, diskIndex }: Readonly<{ backupId: string; diskIndex: number }>) =>
    (await slotHolders(stores.store, storageNode)).some(
      (holder) => holder.backupId === backupId && holder.diskIndex === diskIndex,
    );
  return fileVersionsEndpoints({
    ...{ backups: services.queries.backups, audit: createAccessAudit(deps.audit.trail), log },
    fileVersions: createFileVersions({
      ...{ browse: createBrowseFiles(files), downloads: createDownloadFiles(files), isMounted, createHasher: sha256 },
      ...mountCommands(deps),
      onStaying: ({ mountId, error }) => log.warn({ err: error, mountId }, 'a mount stays until it is idle for long'),
    }),
  });
};
