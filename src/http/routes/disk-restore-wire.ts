import { z } from 'zod';
import type { DiskRestoreRow } from '#projections/disk-restores.ts';

export const RestoreDiskBody = z.object({
  backup_id: z.string().min(1).max(64),
  disk_index: z.int().min(0).max(999_999).default(0),
  target: z.discriminatedUnion('type', [
    z.object({
      type: z.literal('image'),
      path: z.string().startsWith('/', 'must be an absolute path').max(4_000),
      format: z.enum(['raw', 'qcow2'], 'must be raw or qcow2'),
      overwrite: z.boolean().default(false),
    }),
    z.object({ type: z.literal('nbd'), uri: z.string().min(1).max(2_000) }),
  ]),
  verify: z.boolean().default(false),
});

const Target = z.discriminatedUnion('type', [
  z.object({ type: z.literal('image'), path: z.string(), format: z.enum(['raw', 'qcow2']), overwrite: z.boolean() }),
  z.object({ type: z.literal('nbd'), uri: z.string() }),
]);

export const DiskRestore = z
  .object({
    restore_id: z.string(),
    backup_id: z.string(),
    vm_name: z.string(),
    disk_index: z.int(),
    size_bytes: z.int(),
    target: Target,
    verify: z.boolean().meta({ description: 'Whether the copy is compared with the backup before it counts' }),
    status: z.enum(['pending', 'running', 'completed', 'failed', 'cancelled']),
    phase: z.enum(['waiting', 'copying', 'verifying', 'finishing', 'ended']),
    progress_percent: z.number().meta({ description: 'Of the phase, in steps of 10' }),
    attempts: z.int().meta({ description: 'A copy that the end of a hub broke off begins anew' }),
    cancel_requested: z.boolean(),
    verified: z.boolean(),
    failure_kind: z.string().nullable(),
    error_message: z.string().nullable(),
    created_at: z.string(),
    started_at: z.string().nullable(),
    ended_at: z.string().nullable(),
  })
  .meta({ id: 'DiskRestore', description: 'A disk of a backup that is written back' });

export const restoreToWire = (row: DiskRestoreRow): z.input<typeof DiskRestore> => ({ ...row });
