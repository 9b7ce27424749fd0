import { z } from 'zod';
import type { CompleteDiskInput } from '#commands/complete-disk.ts';
import type { KnownChangeId } from '#commands/find-change-id.ts';
import type { IdempotentRequest } from '#commands/idempotent-subject.ts';
import type { CommandContext } from '#commands/ports.ts';
import type { StartBackupInput } from '#commands/start-backup.ts';
import type { KnownBackup } from '#domain/backup/state.ts';
import { DomainError, type ErrorCode } from '#domain/errors.ts';
import type { BackupQueries } from '#projections/backup-queries.ts';
import type { vmContextQueries } from '#projections/vm-contexts.ts';
import { ChangeIdReply, CompleteBody, CompleteReply } from '#wire/client-callbacks.ts';
import { answer, type Endpoint, resource } from '../route.ts';
import { chainEndpoints } from './backup-chain.ts';
import { diskIndex, filter } from './backup-query.ts';
import {
  BackupDiskRecord,
  BackupResponse,
  backupToWire,
  detailToWire,
  diskRecordToWire,
  seconds,
  startToWire,
} from './backup-wire.ts';
import { plainText, requiredText } from './plain-text.ts';

type Position = Readonly<{ position: bigint | undefined }>;

export type BackupRoutesDeps = Readonly<{
  backups: BackupQueries;
  vmContexts: Pick<ReturnType<typeof vmContextQueries>, 'findByName' | 'find'>;
  startBackup: (
    input: StartBackupInput,
    context: (correlationId: string) => CommandContext,
    request: IdempotentRequest | undefined,
  ) => Promise<Readonly<{ backupId: string }> & Position>;
  completeDisk: (
    input: CompleteDiskInput,
    context: CommandContext,
  ) => Promise<Readonly<{ job: KnownBackup }> & Position>;
  findChangeId: (
    query: Readonly<{ vmName: string; diskIndex: number; repositoryId?: string }>,
  ) => Promise<KnownChangeId>;
  deleteBackup: (backupId: string, context: CommandContext) => Promise<Position>;
  /**
   * Waits until the job satisfies `until` and the read model shows it; returns the job as it is then, also when the time
   * was over first.
   */
  awaitJob: (backupId: string, until: (job: KnownBackup) => boolean, signal: AbortSignal) => Promise<KnownBackup>;
  settled: (position: bigint | undefined) => Promise<Readonly<Record<string, string>>>;
  now: () => string;
}>;

const StartBody = z.object({
  vm_name: requiredText(),
  repository_id: z.string().min(1),
  backup_type: z.enum(['full', 'incremental']),
  policy_id: z.string().min(1).optional(),
  tags: z.record(plainText(128), plainText(1024)).optional(),
  vm_context_id: z.string().min(1).optional(),
});

/** How the caller of a start learns why it came to nothing. */
const startFailures: Readonly<Partial<Record<NonNullable<KnownBackup['failure']>['kind'], ErrorCode>>> = {
  repository: 'repository-disabled',
  'ports-exhausted': 'nbd-ports-exhausted',
  'node-unreachable': 'node-unreachable',
  'node-refused': 'node-error',
};

const refuseFailed = ({ failure, backupId }: KnownBackup): void => {
  if (!failure) return;
  throw new DomainError(startFailures[failure.kind] ?? 'local-failure', failure.reason, { backupId, ...failure.facts });
};

const { endpoint } = resource({ tag: 'Backups', group: 'E1' });

const startErrors = [
  ...(['vm-not-found', 'vm-name-ambiguous', 'vm-without-disks', 'vm-without-credential', 'disk-without-size'] as const),
  ...(['credential-not-found', 'repository-not-found', 'repository-disabled', 'repository-unreachable'] as const),
  ...(['policy-not-found', 'no-previous-backup', 'backup-already-running', 'nbd-ports-exhausted'] as const),
  ...(['node-unreachable', 'node-timeout', 'node-error', 'local-failure', 'idempotency-key-reused'] as const),
];

const commandEndpoints = (deps: BackupRoutesDeps): readonly Endpoint[] => {
  const { backups, awaitJob, settled } = deps;
  const showDisks = async (backupId: string) => {
    const [row, disks] = await Promise.all([backups.find(backupId), backups.disks(backupId)]);
    if (!row) throw new DomainError('backup-not-found', `there is no backup ${backupId}`, { backupId });
    return { row, disks };
  };
  return [
    endpoint('POST /backups', {
      summary: 'Starts a backup of all disks of a VM from one snapshot',
      description: 'Answers once the node appliance has taken the job. An Idempotency-Key makes a repeat harmless.',
      body: StartBody,
      audit: {
        ...{ action: 'StartBackup', object: 'backup', id: ['reply.backup_id'] },
        facts: ['vm_name', 'vm_context_id', 'repository_id', 'backup_type', 'policy_id'],
      },
      dryRun: true,
      reply: BackupResponse,
      errors: startErrors,
      // A node that does not answer in time is as good as unreachable to whoever starts a backup.
      statuses: { 'node-timeout': 503 },
      handle: async ({ body, context, idempotency, signal, accepted }) => {
        const input = {
          ...{ vmName: body.vm_name, repositoryId: body.repository_id, backupType: body.backup_type },
          tags: body.tags ?? {},
          ...(body.vm_context_id === undefined ? {} : { vmContextId: body.vm_context_id }),
          ...(body.policy_id === undefined ? {} : { policyId: body.policy_id }),
        };
        const request = idempotency && { operation: 'start-backup', requestSha256: idempotency.requestSha256 };
        const { backupId } = await deps.startBackup(input, context, request);
        accepted({ backup_id: backupId });
        const job = await awaitJob(
          backupId,
          ({ transfer, failure }) => transfer === 'accepted' || failure !== null,
          signal,
        );
        refuseFailed(job);
        if (job.transfer !== 'accepted') {
          const message = `${backupId} is recorded and still being started; look at GET /backups/${backupId}`;
          throw new DomainError('node-timeout', message, { backupId });
        }
        const { row, disks } = await showDisks(backupId);
        return startToWire(row, disks);
      },
    }),
    endpoint('POST /backups/:backup_id/complete', {
      summary: 'Records that a disk has arrived, and its change id; called by the backup client',
      auth: 'loopback-callback',
      body: CompleteBody,
      audit: { action: 'CompleteDisk', object: 'backup', id: ['path.backup_id'], facts: ['disk_id', 'change_id'] },
      dryRun: true,
      reply: CompleteReply,
      errors: ['backup-not-found', 'backup-disk-not-found', 'backup-ended', 'change-id-conflict'],
      handle: async ({ params, body, context, signal, accepted }) => {
        const { backup_id: backupId } = params;
        const input = {
          backupId,
          diskIndex: body.disk_id,
          changeId: body.change_id,
          bytesTransferred: body.bytes_transferred,
        };
        const { job, position } = await deps.completeDisk(input, context(backupId));
        accepted({});
        const allIn = job.disks.every((disk) => disk.transferred);
        // The last disk completes the job: whoever reads right after this answer sees it completed.
        const ended = allIn ? await awaitJob(backupId, ({ closed }) => closed, signal) : job;
        if (ended.failure) throw new DomainError('backup-ended', ended.failure.reason, { backupId });
        const headers = await settled(position);
        const message = 'Backup completed successfully, change_id recorded';
        const timestamp = seconds(deps.now());
        return answer(
          200,
          { status: 'completed', backup_id: backupId, change_id: body.change_id, message, timestamp },
          headers,
        );
      },
    }),
    endpoint('DELETE /backups/:backup_id', {
      summary: 'Deletes a backup: its images, the files beside them and its records',
      audit: { action: 'DeleteBackup', object: 'backup', id: ['path.backup_id'] },
      dryRun: true,
      reply: z.object({ message: z.string(), backup_id: z.string() }),
      errors: [
        ...(['backup-not-found', 'backup-running', 'backup-has-dependants', 'backup-mounted'] as const),
        ...(['backup-being-read', 'local-failure'] as const),
      ],
      handle: async ({ params, context, signal, accepted }) => {
        const { backup_id: backupId } = params;
        await deps.deleteBackup(backupId, context(backupId));
        accepted({});
        const { removal } = await awaitJob(backupId, (job) => job.removal !== 'requested', signal);
        if (removal !== 'removed') {
          const reason = (await backups.find(backupId))?.error_message ?? 'the files could not be removed in time';
          throw new DomainError('local-failure', `${backupId} is not deleted: ${reason}; try again`, { backupId });
        }
        return { message: 'backup deleted successfully', backup_id: backupId };
      },
    }),
    endpoint('GET /backups/:backup_id', {
      summary: 'Shows one backup with its disks',
      reply: BackupResponse,
      errors: ['backup-not-found'],
      handle: async ({ params }) => {
        const { row, disks } = await showDisks(params.backup_id);
        return detailToWire(row, disks);
      },
    }),
    endpoint('GET /backups/:backup_id/disks', {
      summary: 'Lists the disks of a backup',
      reply: z.object({ backup_id: z.string(), disks: z.array(BackupDiskRecord), count: z.int() }),
      errors: ['backup-not-found'],
      handle: async ({ params }) => {
        const { row, disks } = await showDisks(params.backup_id);
        return { backup_id: row.backup_id, disks: disks.map(diskRecordToWire), count: disks.length };
      },
    }),
  ];
};

const queryEndpoints = (deps: BackupRoutesDeps): readonly Endpoint[] => {
  const { backups } = deps;
  return [
    endpoint('GET /backups', {
      summary: 'Lists backups, newest first',
      query: z.object({
        ...{ vm_name: filter, vm_context_id: filter, repository_id: filter, backup_type: filter, status: filter },
      }),
      reply: z.object({ backups: z.array(BackupResponse), total: z.int() }),
      handle: async ({ query }) => {
        const rows = await backups.list({
          ...{ vmName: query.vm_name, vmContextId: query.vm_context_id, repositoryId: query.repository_id },
          ...{ backupType: query.backup_type, status: query.status },
        });
        return { backups: rows.map(backupToWire), total: rows.length };
      },
    }),
    endpoint('GET /backups/changeid', {
      summary: 'The change id from which a disk may be copied incrementally; asked by the backup client',
      auth: 'loopback-callback',
      query: z.object({ vm_name: z.string().min(1), disk_id: diskIndex, repository_id: filter }),
      reply: ChangeIdReply,
      errors: ['change-id-not-found'],
      handle: async ({ query }) => {
        const { vm_name: vmName, disk_id: index, repository_id: repositoryId } = query;
        const repository = repositoryId === undefined ? {} : { repositoryId };
        const found = await deps.findChangeId({ vmName, diskIndex: index, ...repository });
        const { point } = found;
        return {
          vm_name: vmName,
          disk_id: String(found.diskIndex),
          change_id: found.changeId,
          backup_id: point.backupId,
          backup_type: point.type,
          completed_at: seconds(point.completedAt),
          backup_job_id: point.backupId,
          message: 'Previous change_id found',
        };
      },
    }),
    endpoint('GET /backups/stats', {
      summary: 'Counts the completed backups of a VM in a repository',
      query: z.object({ vm_name: z.string().min(1), repository_id: z.string().min(1) }),
      reply: z.object({ backup_count: z.int(), total_size_bytes: z.int(), last_backup_at: z.string().nullable() }),
      handle: async ({ query }) => {
        const { count, bytes, lastAt } = await backups.stats(query.vm_name, query.repository_id);
        return { backup_count: count, total_size_bytes: bytes, last_backup_at: lastAt && seconds(lastAt) };
      },
    }),
  ];
};

export const backupEndpoints = (deps: BackupRoutesDeps): readonly Endpoint[] => [
  ...queryEndpoints(deps),
  ...chainEndpoints(deps),
  ...commandEndpoints(deps),
];
