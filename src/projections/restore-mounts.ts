import type { JSONColumnType } from 'kysely';
import type {
  MountDriver,
  PartitionMounted,
  PartitionSkipped,
  RestoreMountEvent,
} from '#domain/restore-mount/events.ts';
import type { Projection, ReadModelDb, Tables } from './projection.ts';

export type RestoreMountTable = {
  mount_id: string;
  backup_id: string;
  disk_index: number;
  vm_name: string;
  storage_node: string;
  slot: number;
  driver: MountDriver;
  mount_path: string;
  device_path: string;
  status: 'mounting' | 'mounted' | 'unmounting' | 'failed';
  partitioned: boolean;
  partitions: JSONColumnType<readonly PartitionMounted[]>;
  skipped: JSONColumnType<readonly PartitionSkipped[]>;
  idle_seconds: number;
  error_message: string | null;
  created_at: string;
  last_accessed_at: string;
};

const tables: Tables = {
  restore_mounts: [
    `create table restore_mounts (
    mount_id text primary key, backup_id text not null, disk_index integer not null, vm_name text not null,
    storage_node text not null, slot integer not null, driver text not null, mount_path text not null,
    device_path text not null, status text not null, partitioned boolean not null, partitions jsonb not null,
    skipped jsonb not null, idle_seconds integer not null, error_message text, created_at timestamptz not null,
    last_accessed_at timestamptz not null)`,
  ],
};

const update = (
  db: ReadModelDb,
  mountId: string,
  columns: Partial<Pick<RestoreMountTable, 'status' | 'error_message' | 'last_accessed_at'>>,
) => db.updateTable('restore_mounts').set(columns).where('mount_id', '=', mountId);

/** Mounts that are there, come into being or go; what is gone has no row. */
export const restoreMountsProjection: Projection<RestoreMountEvent> = {
  name: 'restore-mounts.v1',
  tables,
  on: {
    MountRequested: ({ data }, db) => [
      db.insertInto('restore_mounts').values({
        ...{ mount_id: data.mountId, backup_id: data.backupId, disk_index: data.diskIndex, vm_name: data.vmName },
        ...{ storage_node: data.storageNode, slot: data.slot, driver: data.driver, mount_path: data.mountPath },
        ...{ device_path: data.devicePath, status: 'mounting', partitioned: false, partitions: '[]', skipped: '[]' },
        ...{ idle_seconds: data.idleSeconds, error_message: null, created_at: data.at, last_accessed_at: data.at },
      }),
    ],
    DiskExposed: () => [],
    MountCompleted: ({ data }, db) => [
      db
        .updateTable('restore_mounts')
        .set({
          ...{ status: 'mounted', partitioned: data.partitioned },
          ...{ partitions: JSON.stringify(data.partitions), skipped: JSON.stringify(data.skipped) },
        })
        .where('mount_id', '=', data.mountId),
    ],
    MountFailed: ({ data }, db) => [update(db, data.mountId, { status: 'unmounting', error_message: data.reason })],
    MountAccessed: ({ data }, db) => [update(db, data.mountId, { last_accessed_at: data.at })],
    UnmountRequested: ({ data }, db) => [update(db, data.mountId, { status: 'unmounting', error_message: null })],
    UnmountFailed: ({ data }, db) => [update(db, data.mountId, { status: 'failed', error_message: data.reason })],
    Unmounted: ({ data }, db) => [db.deleteFrom('restore_mounts').where('mount_id', '=', data.mountId)],
  },
};

/** With the number of the disk's record, which the mounts' replies name. */
const mounts = (db: ReadModelDb) =>
  db
    .selectFrom('restore_mounts as mount')
    .leftJoin('backup_disks as disk', (join) =>
      join.onRef('disk.backup_id', '=', 'mount.backup_id').onRef('disk.disk_index', '=', 'mount.disk_index'),
    )
    .selectAll('mount')
    .select('disk.backup_disk_id');

export const restoreMountQueries = (db: ReadModelDb) => ({
  /** Newest first. */
  live: () =>
    mounts(db)
      .where('mount.status', 'in', ['mounting', 'mounted'])
      .orderBy('mount.created_at', 'desc')
      .orderBy('mount.mount_id')
      .execute(),
  find: (mountId: string) => mounts(db).where('mount.mount_id', '=', mountId).executeTakeFirst(),
  /** Everything that holds a slot of a storage node. */
  holding: (storageNode: string) =>
    mounts(db).where('mount.storage_node', '=', storageNode).orderBy('mount.slot').execute(),
  counts: async (): Promise<readonly Readonly<{ status: string; count: number }>[]> =>
    (
      await db
        .selectFrom('restore_mounts')
        .select((eb) => ['status', eb.fn.countAll<number>().as('count')])
        .groupBy('status')
        .execute()
    ).map(({ status, count }) => ({ status, count: Number(count) })),
});

export type RestoreMountQueries = ReturnType<typeof restoreMountQueries>;
export type RestoreMountRow = Awaited<ReturnType<RestoreMountQueries['live']>>[number];
