import type { Selectable } from 'kysely';
import type { BackupEvent } from '#domain/backup/events.ts';
import { exportIdFor } from '#domain/backup/ids.ts';
import type { NbdExportEvent } from '#domain/nbd-export/nbd-export.ts';
import type { NbdPortsEvent, PortLease } from '#domain/nbd-ports/nbd-ports.ts';
import { idFromStream } from '#domain/streams.ts';
import type { Projection, ReadModelDb, Statement, Tables } from './projection.ts';
import type { NbdExportTable, NbdPortTable } from './read-model.ts';

export type NbdPortRow = Selectable<NbdPortTable>;
export type NbdExportRow = Selectable<NbdExportTable>;

const insertLeases = (db: ReadModelDb, stream: string, leases: readonly PortLease[]): readonly Statement[] =>
  leases.length === 0
    ? []
    : [
        db.insertInto('nbd_port_allocations').values(
          leases.map((lease) => ({
            storage_node: idFromStream(stream),
            port: lease.port,
            job_id: lease.jobId,
            export_name: lease.exportName,
            allocated_at: lease.allocatedAt,
            expires_at: lease.expiresAt,
          })),
        ),
      ];

const deleteExport = (db: ReadModelDb, exportId: string): readonly Statement[] => [
  db.deleteFrom('qemu_nbd_processes').where('export_id', '=', exportId),
];

type Events = NbdPortsEvent | NbdExportEvent | Extract<BackupEvent, { type: `DiskExport${string}` }>;

const tables: Tables = {
  nbd_port_allocations: [
    `create table nbd_port_allocations (
    storage_node text not null, port integer not null, job_id text not null, export_name text not null,
    allocated_at timestamptz not null, expires_at timestamptz not null, primary key (storage_node, port))`,
  ],
  qemu_nbd_processes: [
    `create table qemu_nbd_processes (
    export_id text primary key, export_name text not null, port integer not null, qcow2_path text not null,
    pid integer not null, read_only boolean not null, shared_connections integer not null, backup_id text,
    started_at timestamptz not null)`,
  ],
};

/** Which ports are leased and which exports run, for backups and for exports started by hand. */
export const nbdProjection: Projection<Events> = {
  name: 'nbd.v1',
  tables,
  on: {
    NbdPortsAllocated: ({ data, stream }, db) => insertLeases(db, stream, data.leases),
    NbdPortsReleased: ({ data, stream }, db) => [
      db
        .deleteFrom('nbd_port_allocations')
        .where('storage_node', '=', idFromStream(stream))
        .where('job_id', '=', data.jobId)
        .where('port', 'in', [...data.ports]),
    ],
    // Tells what the events before it told already.
    NbdPortsCarriedForward: () => [],
    NbdExportStarted: ({ data }, db) => [
      ...deleteExport(db, data.exportId),
      db.insertInto('qemu_nbd_processes').values({
        ...{ export_id: data.exportId, export_name: data.exportName, port: data.port, qcow2_path: data.imagePath },
        ...{ pid: data.pid, read_only: data.readOnly, shared_connections: data.sharedConnections },
        ...{ backup_id: null, started_at: data.at },
      }),
    ],
    NbdExportEnded: ({ data }, db) => deleteExport(db, data.exportId),
    DiskExportStarted: ({ data }, db) => [
      ...deleteExport(db, exportIdFor(data.backupId, data.diskIndex)),
      db.insertInto('qemu_nbd_processes').values({
        export_id: exportIdFor(data.backupId, data.diskIndex),
        ...{ export_name: data.exportName, port: data.port, qcow2_path: data.imagePath, pid: data.pid },
        ...{ read_only: false, shared_connections: data.sharedConnections, backup_id: data.backupId },
        started_at: data.at,
      }),
    ],
    DiskExportDied: ({ data }, db) => deleteExport(db, exportIdFor(data.backupId, data.diskIndex)),
    DiskExportStopped: ({ data }, db) => deleteExport(db, exportIdFor(data.backupId, data.diskIndex)),
  },
};

export const nbdQueries = (db: ReadModelDb) => ({
  ports: (storageNode: string): Promise<readonly NbdPortRow[]> =>
    db.selectFrom('nbd_port_allocations').selectAll().where('storage_node', '=', storageNode).orderBy('port').execute(),
  exports: (): Promise<readonly NbdExportRow[]> =>
    db.selectFrom('qemu_nbd_processes').selectAll().orderBy('port').execute(),
});
