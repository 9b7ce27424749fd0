import { z } from 'zod';
import type { FileVersion, FileVersions, VersionedBackup } from '#commands/file-versions.ts';
import { DomainError } from '#domain/errors.ts';
import type { BackupQueries } from '#projections/backup-queries.ts';
import type { Log } from '../log.ts';
import { type Endpoint, OtherForm, resource } from '../route.ts';
import { diskIndex } from './backup-query.ts';
import type { Access, AccessAudit } from './restore-files-audit.ts';
import { FileEntry, FileQuery, Flag, fileToWire } from './restore-files-wire.ts';

export type FileVersionsRoutesDeps = Readonly<{
  backups: Pick<BackupQueries, 'list'>;
  fileVersions: FileVersions;
  audit: AccessAudit;
  log: Log;
}>;

const mostBackups = 100;

const VersionsQuery = FileQuery.extend({
  vm_name: z.string().min(1),
  disk_index: diskIndex,
  repository_id: z.string().min(1).optional(),
  sha256: Flag.meta({ description: 'Reads every one of them, so that equal means equal' }),
  limit: z.coerce.number().int().min(1).max(mostBackups).default(20).meta({ description: 'Newest backups to look at' }),
});

const Version = z.object({
  backup_id: z.string(),
  backup_type: z.string(),
  completed_at: z.iso.datetime(),
  found: z.boolean(),
  version: z.int().nullable().meta({ description: 'The same number is the same content' }),
  file: FileEntry.nullable(),
  sha256: z.string().nullable(),
  error: z.string().nullable().meta({ description: 'Why this backup could not be looked at' }),
});

const VersionsReply = z.object({
  vm_name: z.string(),
  disk_index: z.int(),
  path: z.string(),
  versions: z.array(Version).meta({ description: 'Oldest backup first' }),
  version_count: z.int(),
});

const versionToWire = ({ backup, file, sha256, version, problem }: FileVersion): z.input<typeof Version> => ({
  ...{ backup_id: backup.backupId, backup_type: backup.type, completed_at: backup.completedAt },
  ...{ found: file !== undefined, version: version ?? null, file: file ? fileToWire(file) : null },
  ...{ sha256: sha256 ?? null, error: problem ?? null },
});

type Head = Readonly<{ vm_name: string; disk_index: number; path: string }>;

/** Told one by one, since each takes a mount: a chain of many takes longer than clients wait for a first byte. */
const bodyOf = async function* (
  head: Head,
  first: IteratorResult<FileVersion>,
  versions: AsyncGenerator<FileVersion>,
): AsyncGenerator<string> {
  const numbers = new Set<number>();
  yield `${JSON.stringify(head).slice(0, -1)},"versions":[`;
  for (let step = first, separator = ''; !step.done; step = await versions.next(), separator = ',') {
    if (step.value.version !== undefined) numbers.add(step.value.version);
    yield separator + JSON.stringify(versionToWire(step.value));
  }
  yield `],"version_count":${numbers.size}}`;
};

export const fileVersionsEndpoints = (deps: FileVersionsRoutesDeps): readonly Endpoint[] => {
  const { endpoint } = resource({ tag: 'Restore', group: 'group02' });

  const backupsOf = async (query: z.output<typeof VersionsQuery>): Promise<readonly VersionedBackup[]> => {
    const { vm_name: vmName, repository_id: repositoryId, limit } = query;
    const rows = await deps.backups.list({ vmName, repositoryId, status: 'completed' });
    if (rows.length === 0)
      throw new DomainError('backup-not-found', `There is no completed backup of a VM named "${vmName}".`);
    const newest = rows.slice(0, limit).map(({ backup_id, backup_type, completed_at, created_at }) => ({
      ...{ backupId: backup_id, type: backup_type, completedAt: completed_at ?? created_at },
    }));
    return newest.reverse();
  };

  return [
    endpoint('GET /backups/files/versions', {
      summary: 'Which backups of a VM have a file, and in which version',
      description:
        'Mounts one backup after the other, unless somebody has it mounted, and unmounts it again. Written while it is found.',
      query: VersionsQuery,
      reply: VersionsReply,
      errors: ['backup-not-found', 'path-outside-mount'],
      forms: ['application/json'],
      handle: async ({ query, ...request }) => {
        const { vm_name, disk_index, path, sha256: withSha256 } = query;
        const access: Access = { request, action: 'ListFileVersions', mountId: vm_name, path };
        return deps.audit.watched(access, async () => {
          const backups = await backupsOf(query);
          const { signal, context } = request;
          const versions = deps.fileVersions({ backups, diskIndex: disk_index, path, withSha256, signal }, context);
          const first = await versions.next();
          const facts = { vm_name, disk_index, backups: backups.length };
          await deps.audit.looked(access, facts);
          const told = request.appended().length;
          const close = async (): Promise<void> => {
            await versions.return(undefined);
            // Mounts that came and went while it was sent: no event of theirs is without an entry.
            if (request.appended().length > told) await deps.audit.looked(access, { ...facts, state: 'ended' });
          };
          const release = (): void => {
            close().catch((error: unknown) => deps.log.error({ err: error }, 'versions were not closed'));
          };
          return new OtherForm('application/json', {
            body: bodyOf({ vm_name, disk_index, path }, first, versions),
            release,
          });
        });
      },
    }),
  ];
};
