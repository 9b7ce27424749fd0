import { z } from 'zod';
import type { CancelDiskRestore, RequestDiskRestore } from '#commands/request-disk-restore.ts';
import { DomainError } from '#domain/errors.ts';
import type { DiskRestoreQueries } from '#projections/disk-restores.ts';
import { answer, type Endpoint, resource } from '../route.ts';
import { filter } from './backup-query.ts';
import { DiskRestore, RestoreDiskBody, restoreToWire } from './disk-restore-wire.ts';

export type DiskRestoreRoutesDeps = Readonly<{
  restores: DiskRestoreQueries;
  requestRestore: RequestDiskRestore;
  cancelRestore: CancelDiskRestore;
  settled: (position: bigint | undefined) => Promise<Readonly<Record<string, string>>>;
}>;

const { endpoint } = resource({ tag: 'Restore', group: 'group02' });

const limit = z
  .string()
  .regex(/^\d{1,4}$/, 'must be a number up to 1000')
  .optional()
  .transform((text) => Math.min(1_000, Math.max(1, Number(text ?? 100))));

export const diskRestoreEndpoints = (deps: DiskRestoreRoutesDeps): readonly Endpoint[] => {
  const { restores, settled } = deps;
  const show = async (restoreId: string) => {
    const row = await restores.find(restoreId);
    if (row) return restoreToWire(row);
    throw new DomainError('disk-restore-not-found', `there is no restore ${restoreId}`, { restoreId });
  };
  return [
    endpoint('POST /restore/disk', {
      summary: 'Writes a disk of a backup back, to an image or to an NBD export',
      description:
        'Answers when the restore is recorded; it then runs by itself, also over a restart of the hub. An image appears ' +
        'under its name when it is complete. Targets have to be allowed by SENDENSE_RESTORE_ROOTS and SENDENSE_RESTORE_NBD. ' +
        'An Idempotency-Key makes a repeat harmless.',
      body: RestoreDiskBody,
      audit: {
        ...{ action: 'RestoreDisk', object: 'backup', id: ['body.backup_id'] },
        facts: ['disk_index', 'target.type', 'target.path', 'target.format', 'target.overwrite', 'target.uri'],
      },
      dryRun: true,
      status: 202,
      reply: DiskRestore,
      errors: [
        ...(['backup-not-found', 'backup-disk-not-found', 'backup-not-restorable', 'image-unreadable'] as const),
        ...(['restore-target-refused', 'restore-target-exists', 'restore-target-busy'] as const),
        'idempotency-key-reused',
      ],
      handle: async ({ body, context, idempotency, signal }) => {
        const { backup_id: backupId, disk_index: diskIndex, target, verify } = body;
        const request = idempotency && { operation: 'restore-disk', requestSha256: idempotency.requestSha256 };
        const { restore, position } = await deps.requestRestore(
          { backupId, diskIndex, target, verify },
          context,
          request,
          signal,
        );
        const headers = await settled(position);
        return answer(202, await show(restore.restoreId), headers);
      },
    }),
    endpoint('GET /restore/disk', {
      summary: 'Lists restores of disks, newest first',
      query: z.object({ backup_id: filter, status: filter, limit }),
      reply: z.object({ restores: z.array(DiskRestore), count: z.int() }),
      handle: async ({ query }) => {
        const rows = await restores.list({ backupId: query.backup_id, status: query.status, limit: query.limit });
        return { restores: rows.map(restoreToWire), count: rows.length };
      },
    }),
    endpoint('GET /restore/disk/:restore_id', {
      summary: 'Shows a restore of a disk',
      reply: DiskRestore,
      errors: ['disk-restore-not-found'],
      handle: async ({ params }) => show(params.restore_id),
    }),
    endpoint('DELETE /restore/disk/:restore_id', {
      summary: 'Cancels a restore of a disk; what there is of its image is removed',
      description: 'Answers when the wish is recorded. An NBD export keeps what was written to it.',
      audit: { action: 'CancelDiskRestore', object: 'diskRestore', id: ['path.restore_id'] },
      dryRun: true,
      status: 202,
      reply: DiskRestore,
      errors: ['disk-restore-not-found', 'disk-restore-ended'],
      handle: async ({ params, context }) => {
        const { restore_id: restoreId } = params;
        const { position } = await deps.cancelRestore(restoreId, context(restoreId));
        const headers = await settled(position);
        return answer(202, await show(restoreId), headers);
      },
    }),
  ];
};
