import { z } from 'zod';
import type { LeaseRequest } from '#commands/nbd-leases.ts';
import type { CommandContext } from '#commands/ports.ts';
import type { PortLease } from '#domain/nbd-ports/nbd-ports.ts';
import { type Endpoint, resource } from '../route.ts';
import { seconds } from './backup-wire.ts';

type RunningExport = Readonly<{
  exportName: string;
  port: number;
  imagePath: string;
  pid: number;
  readOnly: boolean;
  sharedConnections: number;
  startedAt: string;
}>;

export type NbdRoutesDeps = Readonly<{
  pool: Readonly<{ first: number; last: number }>;
  leases: Readonly<{
    leases: () => Promise<readonly PortLease[]>;
    allocate: (request: LeaseRequest, context: CommandContext) => Promise<readonly PortLease[]>;
    release: (jobId: string, ports: readonly number[], context: CommandContext) => Promise<number>;
  }>;
  exports: Readonly<{
    start: (
      request: Pick<RunningExport, 'exportName' | 'port' | 'imagePath' | 'readOnly' | 'sharedConnections'>,
      context: CommandContext,
      signal: AbortSignal,
    ) => Promise<RunningExport>;
    stop: (
      wanted: Readonly<{ pid?: number; exportName?: string }>,
      context: CommandContext,
      signal: AbortSignal,
    ) => Promise<number>;
    list: () => Promise<readonly RunningExport[]>;
    countConnections: (port: number) => Promise<number>;
  }>;
  now: () => string;
}>;

const exportName = z.string().regex(/^[A-Za-z0-9._-]{1,63}$/, 'must be 1 to 63 of A-Z a-z 0-9 . _ -');
const jobId = z.string().min(1).max(64);

const portEndpoints = ({ pool, leases }: NbdRoutesDeps): readonly Endpoint[] => {
  const { endpoint } = resource({ tag: 'NBD', group: 'E1' });
  const size = pool.last - pool.first + 1;
  return [
    endpoint('POST /nbd/ports/allocate', {
      summary: 'Leases ports of the pool to a job, all or none',
      audit: { action: 'AllocateNbdPorts', object: 'job', id: ['body.job_id'], facts: ['export_name', 'disk_count'] },
      dryRun: true,
      body: z.object({
        job_id: jobId,
        export_name: exportName,
        disk_count: z.int().min(1).max(size).default(1),
      }),
      reply: z.object({
        job_id: z.string(),
        allocated_ports: z.array(z.object({ port: z.int(), export_name: z.string() })),
        expires_at: z.string(),
      }),
      errors: ['nbd-ports-exhausted', 'nbd-lease-conflict'],
      handle: async ({ body, context }) => {
        const request = { jobId: body.job_id, exportName: body.export_name, diskCount: body.disk_count };
        const leased = await leases.allocate(request, context(body.job_id));
        return {
          job_id: body.job_id,
          allocated_ports: leased.map((lease) => ({ port: lease.port, export_name: lease.exportName })),
          expires_at: seconds(leased[0]?.expiresAt ?? ''),
        };
      },
    }),
    endpoint('POST /nbd/ports/release', {
      summary: 'Gives ports back; only those that the job holds count',
      audit: { action: 'ReleaseNbdPorts', object: 'job', id: ['body.job_id'] },
      dryRun: true,
      body: z.object({ job_id: jobId, ports: z.array(z.int()).default([]) }),
      reply: z.object({ success: z.literal(true), released_count: z.int() }),
      errors: ['nbd-port-in-use'],
      handle: async ({ body, context }) => {
        const released = await leases.release(body.job_id, body.ports, context(body.job_id));
        return { success: true, released_count: released };
      },
    }),
    endpoint('GET /nbd/ports/status', {
      summary: 'Which ports of the pool are leased, and to whom',
      reply: z.object({
        total_ports: z.int(),
        allocated: z.int(),
        available: z.int(),
        allocations: z.array(
          z.object({
            port: z.int(),
            job_id: z.string(),
            export_name: z.string(),
            allocated_at: z.string(),
            expires_at: z.string(),
          }),
        ),
      }),
      handle: async () => {
        const leased = (await leases.leases()).toSorted((a, b) => a.port - b.port);
        return {
          total_ports: size,
          allocated: leased.length,
          available: size - leased.length,
          allocations: leased.map((lease) => ({
            port: lease.port,
            job_id: lease.jobId,
            export_name: lease.exportName,
            allocated_at: seconds(lease.allocatedAt),
            expires_at: seconds(lease.expiresAt),
          })),
        };
      },
    }),
  ];
};

const StopBody = z
  .object({ pid: z.int().positive().optional(), export_name: exportName.optional() })
  .refine(({ pid, export_name: name }) => pid !== undefined || name !== undefined, 'pid or export_name is required');

const exportEndpoints = ({ pool, exports, now }: NbdRoutesDeps): readonly Endpoint[] => {
  const { endpoint } = resource({ tag: 'NBD', group: 'E1' });
  return [
    endpoint('POST /nbd/qemu-nbd/start', {
      summary: 'Serves an image of a repository on an allocated port',
      audit: {
        ...{ action: 'StartNbdExport', object: 'nbdExport', id: ['body.export_name'] },
        facts: ['port', 'qcow2_path', 'read_only'],
      },
      dryRun: true,
      body: z.object({
        export_name: exportName,
        port: z.int().min(pool.first).max(pool.last),
        qcow2_path: z.string().startsWith('/', 'must be an absolute path').max(512),
        read_only: z.boolean().default(false),
        // A backup client opens two connections an export and reconnects; qemu's own default of one hangs the second.
        shared_connections: z.int().min(5).max(1000).default(10),
      }),
      reply: z.object({ pid: z.int(), port: z.int(), export_name: z.string(), status: z.literal('running') }),
      errors: [
        ...(['nbd-port-not-allocated', 'nbd-port-in-use', 'image-locked', 'image-not-found'] as const),
        ...(['image-outside-repositories', 'local-failure'] as const),
      ],
      handle: async ({ body, context, signal }) => {
        const request = {
          ...{ exportName: body.export_name, port: body.port, imagePath: body.qcow2_path },
          ...{ readOnly: body.read_only, sharedConnections: body.shared_connections },
        };
        const { pid, port } = await exports.start(request, context(), signal);
        return { pid, port, export_name: body.export_name, status: 'running' };
      },
    }),
    endpoint('POST /nbd/qemu-nbd/stop', {
      summary: 'Ends an export of this hub; never a process that it did not start',
      audit: { action: 'StopNbdExport', object: 'nbdExport', id: ['body.export_name'], facts: ['pid'] },
      dryRun: true,
      body: StopBody,
      reply: z.object({ success: z.literal(true), stopped_pid: z.int() }),
      errors: ['nbd-export-not-found'],
      handle: async ({ body, context, signal }) => {
        const wanted = {
          ...(body.pid === undefined ? {} : { pid: body.pid }),
          ...(body.export_name === undefined ? {} : { exportName: body.export_name }),
        };
        return { success: true, stopped_pid: await exports.stop(wanted, context(), signal) };
      },
    }),
    endpoint('GET /nbd/qemu-nbd/list', {
      summary: 'The exports that run',
      reply: z.object({
        processes: z.array(
          z.object({
            pid: z.int(),
            port: z.int(),
            export_name: z.string(),
            qcow2_path: z.string(),
            uptime_seconds: z.int(),
            connection_count: z.int(),
            shared_limit: z.int(),
          }),
        ),
      }),
      handle: async () => {
        const running = (await exports.list()).toSorted((a, b) => a.port - b.port);
        const processes = running.map(async (each) => ({
          pid: each.pid,
          port: each.port,
          export_name: each.exportName,
          qcow2_path: each.imagePath,
          uptime_seconds: Math.max(0, Math.floor((Date.parse(now()) - Date.parse(each.startedAt)) / 1000)),
          connection_count: await exports.countConnections(each.port),
          shared_limit: each.sharedConnections,
        }));
        return { processes: await Promise.all(processes) };
      },
    }),
  ];
};

export const nbdEndpoints = (deps: NbdRoutesDeps): readonly Endpoint[] => [
  ...portEndpoints(deps),
  ...exportEndpoints(deps),
];
