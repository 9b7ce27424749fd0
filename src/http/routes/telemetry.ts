import { z } from 'zod';
import type { CommandContext } from '#commands/ports.ts';
import { DomainError } from '#domain/errors.ts';
import type { Report, ReportedDisk } from '#domain/telemetry/decide.ts';
import type { BackupQueries, SnapshotRow } from '#projections/backup-queries.ts';
import { type TelemetryDisk, TelemetryPost } from '#wire/client-callbacks.ts';
import { sha256Hex } from '../request.ts';
import { type Endpoint, resource } from '../route.ts';
import { metricsToWire, PerformanceMetrics, seconds } from './backup-wire.ts';

export type TelemetryRoutesDeps = Readonly<{
  recordTelemetry: (
    post: Readonly<{ jobId: string; report: Report; fingerprint: string }>,
    context: CommandContext,
  ) => Promise<unknown>;
  backups: Pick<BackupQueries, 'find' | 'snapshots'>;
  now: () => string;
}>;

const clamp = (value: number, low: number, high: number): number => Math.min(high, Math.max(low, value));

/** An unreadable clock counts as now; the sender's offset does not matter once it is UTC. */
const timestampOf = (text: string | undefined): string | null => {
  const ms = text === undefined ? Number.NaN : Date.parse(text);
  return Number.isNaN(ms) ? null : new Date(ms).toISOString();
};

const diskStatus = {
  pending: 'pending',
  transferring: 'transferring',
  running: 'transferring',
  completed: 'transferred',
  failed: 'failed',
} as const;

const diskOf = (disk: TelemetryDisk): ReportedDisk => ({
  index: disk.disk_index,
  bytesTransferred: disk.bytes_transferred,
  totalBytes: disk.total_bytes ?? 0,
  percent: clamp(disk.progress_percent, 0, 100),
  status: diskStatus[disk.status],
});

/** Clients send the error as a text or as an object. */
const errorOf = (error: TelemetryPost['error']): string | null => {
  if (error === null || error === undefined || error === '') return null;
  return typeof error === 'string' ? error : error.message;
};

const maxErrorLength = 2000;

/** Control characters say nothing to a reader, and PostgreSQL refuses NUL: one such text would stop the read models. */
const printable = (text: string): string => text.replaceAll(/\p{Cc}+/gu, ' ').trim();

const reportOf = (post: TelemetryPost): Report => ({
  // An empty status means running: some clients leave it out.
  status: post.status || 'running',
  phase: printable(post.current_phase ?? '').slice(0, 50),
  bytesTransferred: post.bytes_transferred ?? 0,
  totalBytes: post.total_bytes ?? 0,
  speedBps: post.transfer_speed_bps ?? 0,
  etaSeconds: Math.max(0, Math.round(post.eta_seconds ?? 0)),
  percent: clamp(post.progress_percent ?? 0, 0, 100),
  disks: (post.disks ?? []).map(diskOf),
  error: printable(errorOf(post.error) ?? '').slice(0, maxErrorLength) || null,
  timestamp: timestampOf(post.timestamp),
});

const chartOf = (snapshots: readonly SnapshotRow[]) => {
  const [first] = snapshots;
  return snapshots.map((row) => ({
    t: Math.round((Date.parse(row.timestamp) - Date.parse(first?.timestamp ?? row.timestamp)) / 1000),
    s: row.transfer_speed_bps,
    p: row.progress_percent,
    phase: row.current_phase,
  }));
};

const CurrentState = z.object({
  bytes_transferred: z.int(),
  total_bytes: z.int(),
  transfer_speed_bps: z.int(),
  progress_percent: z.number(),
  current_phase: z.string(),
});

const History = z.object({
  job_id: z.string(),
  status: z.string(),
  data_source: z.enum(['rolled_up', 'live_snapshots', 'none']),
  performance_metrics: PerformanceMetrics.optional(),
  current_state: CurrentState.optional(),
  chart_data: PerformanceMetrics.shape.chart_data.optional(),
  message: z.string().optional(),
});

const readHistory = async ({ backups }: TelemetryRoutesDeps, jobId: string): Promise<z.input<typeof History>> => {
  const row = await backups.find(jobId);
  if (!row) throw new DomainError('job-not-found', `there is no job ${jobId}`, { jobId });
  const head = { job_id: jobId, status: row.status };
  if (row.performance) {
    return { ...head, data_source: 'rolled_up', performance_metrics: metricsToWire(row.performance) };
  }
  if (row.status !== 'running' && row.status !== 'stalled') {
    return { ...head, data_source: 'none', message: 'No telemetry was recorded for this job' };
  }
  return {
    ...head,
    data_source: 'live_snapshots',
    current_state: {
      bytes_transferred: row.bytes_transferred,
      total_bytes: row.total_bytes,
      transfer_speed_bps: row.transfer_speed_bps,
      progress_percent: row.progress_percent,
      current_phase: row.current_phase,
    },
    chart_data: chartOf(await backups.snapshots(jobId)),
  };
};

export const telemetryEndpoints = (deps: TelemetryRoutesDeps): readonly Endpoint[] => {
  const { endpoint } = resource({ tag: 'Telemetry', group: 'E1' });
  return [
    endpoint('POST /telemetry/:job_type/:job_id', {
      summary: 'Records the progress of a job; called by the backup client',
      auth: 'loopback-callback',
      params: z.object({ job_type: z.enum(['backup', 'replication', 'restore']), job_id: z.string().min(1).max(255) }),
      body: TelemetryPost,
      audit: 'machine-fact',
      reply: z.object({ status: z.string(), message: z.string(), timestamp: z.string() }),
      errors: ['job-not-found'],
      handle: async ({ params, body, context }) => {
        const fingerprint = sha256Hex(JSON.stringify(body)).slice(0, 32);
        const post = { jobId: params.job_id, report: reportOf(body), fingerprint };
        await deps.recordTelemetry(post, context(params.job_id));
        const timestamp = seconds(deps.now());
        return { status: 'success', message: 'Telemetry received and processed', timestamp };
      },
    }),
    endpoint('GET /telemetry/history/:job_id', {
      summary: 'How a job went: its profile when it has ended, its samples while it runs',
      reply: History,
      errors: ['job-not-found'],
      handle: ({ params }) => readHistory(deps, params.job_id),
    }),
  ];
};
