import express, { type ErrorRequestHandler, type Express, type Request, type RequestHandler, Router } from 'express';
import type { Logger } from 'pino';
import { z } from 'zod';
import {
  type BackupStartReply,
  BackupStartRequest,
  type CancelReply,
  CancelRequest,
  CleanupRequest,
  ConfigRequest,
  DiscoverRequest,
  type HealthReply,
  ProgressUpdate,
} from '#wire/node-api.ts';
import type { ForeignProgress } from './foreign-progress.ts';
import { rfc3339 } from './job-record.ts';
import { progressReply, statusReply } from './job-views.ts';
import type { Jobs } from './jobs.ts';
import { Refusal } from './refusal.ts';
import type { Source } from './source.ts';

export type ApiDeps = Readonly<{ jobs: Jobs; source: Source; foreign: ForeignProgress; log: Logger }>;

const discoverTimeoutMs = 60_000;
const healthTimeoutMs = 10_000;
const startTimeoutMs = 25_000; // the hub waits 30 s

const parsed = <S extends z.ZodType>(schema: S, { body }: Request): z.infer<S> => {
  const result = schema.safeParse(body);
  if (!result.success)
    throw new Refusal(400, `invalid request: ${z.prettifyError(result.error).replaceAll('\n', ' ')}`);
  return result.data;
};

const jobIdOf = ({ params }: Request): string => String(params.job_id);

const startBackup =
  ({ jobs }: ApiDeps): RequestHandler =>
  async (request, response) => {
    const body = parsed(BackupStartRequest, request);
    const job = await jobs.start(body, AbortSignal.timeout(startTimeoutMs));
    const reply: BackupStartReply = {
      job_id: body.job_id,
      status: 'started',
      message: `Backup started for ${body.vm_name}`,
      started_at: job.startedAt,
      pid: process.pid,
    };
    response.json(reply);
  };

const cancelBackup =
  ({ jobs }: ApiDeps): RequestHandler =>
  async (request, response) => {
    const { job_id } = parsed(CancelRequest, request);
    const { status } = await jobs.cancel(job_id);
    const message = status === 'cancelled' ? 'Backup cancelled' : `Backup had already ${status}`;
    const reply: CancelReply = { job_id, status, message };
    response.json(reply);
  };

const discover =
  ({ source }: ApiDeps): RequestHandler =>
  async (request, response) => {
    response.json(await source.discover(parsed(DiscoverRequest, request), AbortSignal.timeout(discoverTimeoutMs)));
  };

const progress =
  ({ jobs, foreign }: ApiDeps): RequestHandler =>
  (request, response) => {
    const job = jobs.get(jobIdOf(request));
    const reply = job === undefined ? foreign.progress(jobIdOf(request), Date.now()) : progressReply(job, Date.now());
    if (reply === undefined) throw new Refusal(404, 'job not found');
    response.json(reply);
  };

const status =
  ({ jobs, foreign }: ApiDeps): RequestHandler =>
  (request, response) => {
    const job = jobs.get(jobIdOf(request));
    const reply = job === undefined ? foreign.status(jobIdOf(request)) : statusReply(job, Date.now());
    if (reply === undefined) throw new Refusal(404, 'job not found');
    response.json(reply);
  };

const updateProgress =
  ({ jobs, foreign }: ApiDeps): RequestHandler =>
  (request, response) => {
    const jobId = jobIdOf(request);
    const update = parsed(ProgressUpdate, request);
    if (jobs.get(jobId) !== undefined) throw new Refusal(409, 'this node runs that job and knows its progress itself');
    const first = foreign.update(jobId, update, Date.now());
    response.json({ status: 'success', job_id: jobId, ...(first ? { auto_initialized: true } : {}) });
  };

/** Runs remove their snapshots themselves: there is nothing left to do, except that a running job is not disturbed. */
const cleanup =
  ({ jobs }: ApiDeps): RequestHandler =>
  (request, response) => {
    const { job_id, action } = parsed(CleanupRequest, request);
    if (jobs.get(job_id)?.status === 'running') throw new Refusal(409, 'the job is running: cancel it first');
    response.json({ status: 'success', job_id, action });
  };

const configure: RequestHandler = (request, response) => {
  parsed(ConfigRequest, request);
  response.json({ status: 'success', message: 'Configuration accepted; every backup brings its own targets' });
};

const health =
  ({ source }: ApiDeps): RequestHandler =>
  async (_request, response) => {
    const reply: HealthReply = {
      status: 'healthy',
      timestamp: rfc3339(Date.now()),
      uptime: `${Math.floor(process.uptime())}s`,
      change_tracking: (await source.trackingState?.(AbortSignal.timeout(healthTimeoutMs))) ?? null,
    };
    response.json(reply);
  };

/** The API has no login. Pages in a browser on this host are kept out by the header that browsers always send. */
const notForBrowsers: RequestHandler = ({ headers }, _response, next) => {
  const site = headers['sec-fetch-site'];
  const fromPage = headers.origin !== undefined || (site !== undefined && site !== 'none');
  next(fromPage ? new Refusal(403, 'not for web pages') : undefined);
};

const statusOf = (error: unknown): number => {
  if (error instanceof Refusal) return error.status;
  // body-parser: malformed JSON, too large
  if (error instanceof Error && 'status' in error && typeof error.status === 'number') return error.status;
  return 500;
};

const plainTextErrors =
  (log: Logger): ErrorRequestHandler =>
  (error: unknown, request, response, _next) => {
    const code = statusOf(error);
    const message = error instanceof Error ? error.message : String(error);
    const level = code >= 500 && !(error instanceof Refusal) ? 'error' : 'info';
    log[level]({ method: request.method, path: request.path, status: code, err: error }, 'request refused');
    response.status(code).type('text/plain').send(message);
  };

export const createApi = (deps: ApiDeps): Express => {
  const app = express();
  app.disable('x-powered-by');
  // Content types are not checked: old clients send none.
  app.use(notForBrowsers, express.json({ type: () => true, limit: '1mb' }));
  const routes = Router()
    .post('/backup/start', startBackup(deps))
    .post('/backup/cancel', cancelBackup(deps))
    .post('/discover', discover(deps))
    .get('/progress/:job_id', progress(deps))
    .post('/progress/:job_id/update', updateProgress(deps))
    .get('/status/:job_id', status(deps))
    .get('/health', health(deps))
    .post('/cleanup', cleanup(deps))
    .put('/config', configure);
  app.use('/api/v1', routes);
  app.use(() => {
    throw new Refusal(404, 'not found');
  });
  app.use(plainTextErrors(deps.log));
  return app;
};
