import { z } from 'zod';
import { deadlineAfter } from '#commands/mount-deadline.ts';
import { mountSlotCount } from '#domain/mount-slots/mount-slots.ts';
import type { RestoreMountRow } from '#projections/restore-mounts.ts';

export const Mount = z
  .object({
    mount_id: z.uuid(),
    backup_id: z.string(),
    backup_disk_id: z.int(),
    disk_index: z.int().nonnegative(),
    mount_path: z.string(),
    nbd_device: z.string().meta({
      description: '`/dev/nbd0` to `/dev/nbd7`; where the kernel has no NBD, the file that stands for the whole disk',
    }),
    driver: z.enum(['nbd', 'fuse']),
    filesystem_type: z.string(),
    status: z.enum(['mounting', 'mounted', 'unmounting', 'failed']),
    created_at: z.string(),
    last_accessed_at: z.string(),
    expires_at: z.string(),
    partition_metadata: z
      .string()
      .optional()
      .meta({ description: 'JSON: `partitions` that are mounted, `skipped` ones with the reason' }),
    error_message: z.string().optional(),
  })
  .meta({ id: 'Mount' });

const metadataOf = ({ partitions, skipped }: RestoreMountRow): string =>
  JSON.stringify({
    partitions: partitions.map(({ number, name, sizeBytes, filesystem, label }) => ({
      ...{ partition_name: name, size: sizeBytes, filesystem, label, mount_path: `partition-${number}` },
    })),
    ...(skipped.length === 0
      ? {}
      : {
          skipped: skipped.map(({ name, sizeBytes, filesystem, label, reason }) => ({
            ...{ partition_name: name, size: sizeBytes, filesystem, label, reason },
          })),
        }),
  });

const later = (a: string, b: string | undefined): string => (b !== undefined && b > a ? b : a);

/** `lastAccess`: what this hub knows beyond the log, which is not told of every access. */
export const mountToWire = (row: RestoreMountRow, lastAccess: string | undefined): z.input<typeof Mount> => {
  const lastAccessedAt = later(row.last_accessed_at, lastAccess);
  return {
    ...{ mount_id: row.mount_id, backup_id: row.backup_id, backup_disk_id: row.backup_disk_id ?? 0 },
    ...{ disk_index: row.disk_index, mount_path: row.mount_path, nbd_device: row.device_path, driver: row.driver },
    filesystem_type: row.status === 'mounting' ? '' : (row.partitions[0]?.filesystem ?? 'unknown') || 'unknown',
    ...{ status: row.status, created_at: row.created_at, last_accessed_at: lastAccessedAt },
    expires_at: deadlineAfter(lastAccessedAt, row.idle_seconds),
    ...(row.partitioned ? { partition_metadata: metadataOf(row) } : {}),
    ...(row.status === 'failed' && row.error_message !== null ? { error_message: row.error_message } : {}),
  };
};

export const Resources = z.object({
  active_mounts: z.int(),
  max_mounts: z.int(),
  available_slots: z.int(),
  allocated_devices: z.array(z.string()),
  available_devices: z.int(),
  device_utilization: z.string(),
  device_utilization_percent: z.number(),
  driver: z.enum(['nbd', 'fuse']).nullable().meta({ description: 'null: this host cannot mount' }),
  driver_reason: z.string(),
});

/** Every slot that is held counts, also by what cannot be taken down. */
export const resourcesToWire = (
  holding: readonly RestoreMountRow[],
  ability: Readonly<{ driver: 'nbd' | 'fuse' | null; reason: string }>,
): z.input<typeof Resources> => {
  const active = holding.filter(({ status }) => status === 'mounting' || status === 'mounted').length;
  const free = mountSlotCount - holding.length;
  const percent = (holding.length / mountSlotCount) * 100;
  return {
    ...{ active_mounts: active, max_mounts: mountSlotCount, available_slots: free },
    ...{ allocated_devices: holding.map(({ device_path: device }) => device), available_devices: free },
    ...{ device_utilization: `${percent.toFixed(1)}%`, device_utilization_percent: percent },
    ...{ driver: ability.driver, driver_reason: ability.reason },
  };
};

/** `5m`, `1h`, `90s`: the largest unit that is whole. */
export const shortDuration = (seconds: number): string => {
  if (seconds % 3600 === 0) return `${seconds / 3600}h`;
  return seconds % 60 === 0 ? `${seconds / 60}m` : `${seconds}s`;
};
