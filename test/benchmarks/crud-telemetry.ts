import { text } from 'node:stream/consumers';
import { execa } from 'execa';
import express from 'express';
import pg from 'pg';
import { z } from 'zod';
import { TelemetryPost } from '#wire/client-callbacks.ts';

/** What a team would write without events: check the report, update the job's row. */
export type CrudServer = Readonly<{ url: string; close: () => Promise<void> }>;

const tables = `create table jobs (
    job_id text primary key, status text not null, current_phase text not null, bytes_transferred bigint not null,
    total_bytes bigint not null, transfer_speed_bps bigint not null, eta_seconds bigint not null,
    progress_percent double precision not null, last_telemetry_at timestamptz not null);
  create table job_disks (
    job_id text not null, disk_index integer not null, status text not null, bytes_transferred bigint not null,
    progress_percent double precision not null, primary key (job_id, disk_index))`;

const Params = z.object({ job_type: z.enum(['backup', 'replication', 'restore']), job_id: z.string().min(1).max(255) });

/** Of one report, in one transaction: the job's row and those of its disks. */
const updateJob = async (
  client: pg.PoolClient,
  jobId: string,
  post: z.output<typeof TelemetryPost>,
): Promise<boolean> => {
  await client.query('begin');
  const { rowCount } = await client.query(
    `update jobs set status = $2, current_phase = $3, bytes_transferred = $4, total_bytes = $5, transfer_speed_bps = $6,
      eta_seconds = $7, progress_percent = $8, last_telemetry_at = now() where job_id = $1`,
    [
      ...[
        jobId,
        post.status || 'running',
        post.current_phase ?? '',
        post.bytes_transferred ?? 0,
        post.total_bytes ?? 0,
      ],
      ...[post.transfer_speed_bps ?? 0, Math.round(post.eta_seconds ?? 0), post.progress_percent ?? 0],
    ],
  );
  for (const disk of post.disks ?? []) {
    await client.query(
      `update job_disks set status = $3, bytes_transferred = $4, progress_percent = $5
        where job_id = $1 and disk_index = $2`,
      [jobId, disk.disk_index, disk.status, disk.bytes_transferred, disk.progress_percent],
    );
  }
  await client.query('commit');
  return rowCount === 1;
};

/** The table is made anew; each job has one disk. Returns what `listen` takes. */
const createCrudApp = async (pool: pg.Pool, jobIds: readonly string[]): Promise<express.Express> => {
  await pool.query(tables);
  for (const jobId of jobIds) {
    await pool.query(`insert into jobs values ($1, 'running', '', 0, 0, 0, 0, 0, now())`, [jobId]);
    await pool.query(`insert into job_disks values ($1, 0, 'pending', 0, 0)`, [jobId]);
  }
  const app = express();
  app.use(express.json());
  app.post('/api/v1/telemetry/:job_type/:job_id', async (request, response) => {
    const params = Params.safeParse(request.params);
    const body = TelemetryPost.safeParse(request.body);
    if (!params.success || !body.success) {
      response.status(400).json({ error: 'invalid request' });
      return;
    }
    const client = await pool.connect();
    try {
      const found = await updateJob(client, params.data.job_id, body.data);
      const timestamp = new Date().toISOString();
      if (found) response.json({ status: 'success', message: 'Telemetry received and processed', timestamp });
      else response.status(404).json({ error: 'job not found' });
    } finally {
      client.release();
    }
  });
  return app;
};

type Spec = Readonly<{ connection: pg.PoolConfig; jobIds: readonly string[] }>;

/** A process of its own, as the hub is one. */
export const startCrudServer = async (spec: Spec): Promise<CrudServer> => {
  const program = execa(process.execPath, [import.meta.filename], {
    ...{ input: JSON.stringify(spec), stderr: 'inherit', buffer: false, cleanup: true },
    // Node's own settings: the small heap is the hub's choice, not that of a team that never thought of it.
    env: { NODE_OPTIONS: '' },
  });
  const lines = program.iterable({ from: 'stdout' })[Symbol.asyncIterator]();
  const { value, done } = await lines.next();
  if (done) throw new Error('the CRUD server did not start');
  return {
    url: String(value),
    close: async () => {
      program.kill('SIGTERM');
      await program.catch(() => undefined);
    },
  };
};

const serve = async (): Promise<void> => {
  const { connection, jobIds } = JSON.parse(await text(process.stdin)) as Spec;
  const app = await createCrudApp(new pg.Pool({ ...connection, max: 10 }), jobIds);
  const server = app.listen(0, '127.0.0.1', () => {
    const address = server.address();
    if (address !== null && typeof address === 'object') process.stdout.write(`http://127.0.0.1:${address.port}\n`);
  });
};

if (import.meta.main) await serve();
