import type { Logger } from 'pino';
import type { AuditTrail } from '#commands/audit-ports.ts';
import { createBrowseFiles } from '#commands/browse-files.ts';
import { createDownloadFiles } from '#commands/download-files.ts';
import type { MountAccess } from '#commands/file-restore-ports.ts';
import type { Endpoint } from '#http/route.ts';
import { restoreDownloadEndpoints } from '#http/routes/restore-downloads.ts';
import { restoreFilesEndpoints } from '#http/routes/restore-files.ts';
import { createAccessAudit } from '#http/routes/restore-files-audit.ts';
import { createFileTrees } from '#infra/backup-files/file-trees.ts';

type Deps = Readonly<{ mounts: MountAccess; trail: AuditTrail; log: Logger }>;

/** What browses and downloads the files of mounted backups. */
export const restoredFiles = ({ mounts, trail, log }: Deps): readonly Endpoint[] => {
  const trees = createFileTrees();
  const audit = createAccessAudit(trail);
  return [
    ...restoreFilesEndpoints({ browse: createBrowseFiles({ mounts, trees }), audit, log }),
    ...restoreDownloadEndpoints({ downloads: createDownloadFiles({ mounts, trees }), audit, log }),
  ];
};
