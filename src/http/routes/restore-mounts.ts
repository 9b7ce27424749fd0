import { z } from 'zod';
import { deadlineAfter } from '#commands/mount-deadline.ts';
import type { MountRequest } from '#commands/mount-disk.ts';
import type { CommandContext } from '#commands/ports.ts';
import type { MountAbility } from '#commands/restore-mount-ports.ts';
import type { RestoreMountQueries, RestoreMountRow } from '#projections/restore-mounts.ts';
import { type Endpoint, resource } from '../route.ts';
import { Mount, mountToWire, Resources, resourcesToWire, shortDuration } from './restore-mount-wire.ts';

export type RestoreMountRoutesDeps = Readonly<{
  mountDisk: (
    request: MountRequest,
    context: CommandContext,
    signal: AbortSignal,
  ) => Promise<Readonly<{ mountId: string }>>;
  unmountDisk: (mountId: string, context: CommandContext, signal: AbortSignal) => Promise<void>;
  mounts: RestoreMountQueries;
  lastAccess: (mountId: string) => string | undefined;
  ability: () => Promise<MountAbility>;
  storageNode: string;
  cleanup: () => Readonly<{ running: boolean; everySeconds: number; idleSeconds: number; lastAt: string | null }>;
  now: () => string;
}>;

const { endpoint } = resource({ tag: 'Restore', group: 'group02' });

const commandEndpoints = (deps: RestoreMountRoutesDeps): readonly Endpoint[] => [
  endpoint('POST /restore/mount', {
    summary: 'Mounts a disk of a completed backup for reading; a disk that is mounted already keeps its mount',
    description:
      'Answers once the files can be read. Journals are replayed into an overlay that is thrown away; the backup is not ' +
      'touched. Partitions that cannot be mounted are listed with their reason.',
    audit: {
      ...{ action: 'MountDisk', object: 'restoreMount', id: ['reply.mount_id'] },
      facts: ['backup_id', 'disk_index'],
    },
    body: z.object({ backup_id: z.string().min(1).max(255), disk_index: z.int().nonnegative().default(0) }),
    reply: Mount,
    errors: [
      ...(['backup-not-found', 'backup-disk-not-found', 'backup-not-restorable', 'image-unreadable'] as const),
      ...(['nothing-mountable', 'mount-slots-exhausted', 'mounts-unavailable', 'mount-busy', 'mount-failed'] as const),
    ],
    handle: async ({ body, context, signal }) => {
      const request = { backupId: body.backup_id, diskIndex: body.disk_index };
      const { mountId } = await deps.mountDisk(request, context(), signal);
      const row = await deps.mounts.find(mountId);
      if (!row) throw new Error(`the mount ${mountId} is not in the read model`);
      return mountToWire(row, deps.lastAccess(mountId));
    },
  }),
  endpoint('DELETE /restore/:mount_id', {
    summary: 'Unmounts a disk; what is being read through it is broken off',
    audit: { action: 'UnmountDisk', object: 'restoreMount', id: ['path.mount_id'] },
    reply: z.object({ message: z.string(), mount_id: z.string() }),
    errors: ['mount-not-found', 'unmount-failed'],
    handle: async ({ params, context, signal }) => {
      await deps.unmountDisk(params.mount_id, context(params.mount_id), signal);
      return { message: 'backup unmounted successfully', mount_id: params.mount_id };
    },
  }),
];

const isExpired = (row: RestoreMountRow, { lastAccess, now }: RestoreMountRoutesDeps): boolean => {
  const known = lastAccess(row.mount_id) ?? '';
  const lastAccessedAt = known > row.last_accessed_at ? known : row.last_accessed_at;
  return deadlineAfter(lastAccessedAt, row.idle_seconds) <= now();
};

const lookEndpoints = (deps: RestoreMountRoutesDeps): readonly Endpoint[] => [
  endpoint('GET /restore/mounts', {
    summary: 'Disks that are mounted or being mounted, newest first',
    reply: z.object({ mounts: z.array(Mount), count: z.int() }),
    handle: async () => {
      const mounts = (await deps.mounts.live()).map((row) => mountToWire(row, deps.lastAccess(row.mount_id)));
      return { mounts, count: mounts.length };
    },
  }),
  endpoint('GET /restore/resources', {
    summary: 'How many mounts there may be, how many there are, and how this host mounts',
    reply: Resources,
    handle: async () => {
      const [holding, ability] = await Promise.all([deps.mounts.holding(deps.storageNode), deps.ability()]);
      return resourcesToWire(holding, ability);
    },
  }),
  endpoint('GET /restore/cleanup-status', {
    summary: 'Whether idle mounts are looked for, and when they were the last time',
    reply: z.object({
      running: z.boolean(),
      cleanup_interval: z.string(),
      idle_timeout: z.string(),
      active_mount_count: z.int(),
      expired_mount_count: z.int(),
      last_cleanup: z.string().nullable(),
    }),
    handle: async () => {
      const live = await deps.mounts.live();
      const { running, everySeconds, idleSeconds, lastAt } = deps.cleanup();
      return {
        ...{ running, cleanup_interval: shortDuration(everySeconds), idle_timeout: shortDuration(idleSeconds) },
        active_mount_count: live.length,
        expired_mount_count: live.filter((row) => isExpired(row, deps)).length,
        last_cleanup: lastAt,
      };
    },
  }),
];

/** Literal paths first: `/restore/mounts` is no mount's id. */
export const restoreMountEndpoints = (deps: RestoreMountRoutesDeps): readonly Endpoint[] => [
  ...lookEndpoints(deps),
  ...commandEndpoints(deps),
];
