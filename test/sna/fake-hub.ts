import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { json } from 'node:stream/consumers';
import { CompleteBody, TelemetryPost } from '#wire/client-callbacks.ts';
import { until } from './until.ts';

export type Completion = Readonly<{ backupId: string; body: CompleteBody }>;
export type Post = Readonly<{ jobId: string; body: TelemetryPost }>;
type Route = (request: IncomingMessage, url: URL) => Promise<unknown>;

/** The hub as a backup client meets it: three callbacks, recorded; it can go away and come back on its port. */
export class FakeHub {
  readonly completions: Completion[] = [];
  readonly telemetry: Post[] = [];
  /** By disk index. */
  readonly changeIds = new Map<number, string>();
  /** Answers `complete` with this status instead. */
  refuseCompletion: number | undefined;
  #server: Server | undefined;
  #port = 0;

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  async start(): Promise<void> {
    this.#server = createServer((request, response) => void this.#answer(request, response));
    this.#server.listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening');
    const address = this.#server.address();
    if (typeof address === 'object' && address !== null) this.#port = address.port;
  }

  async stop(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    server.close();
    server.closeAllConnections();
    await once(server, 'close');
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', this.url);
    const route = this.#routeOf(request.method, url);
    const body = await route?.(request, url);
    const status = body === undefined ? 404 : typeof body === 'number' ? body : 200;
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body ?? { error: 'none' }));
  }

  #routeOf(method: string | undefined, { pathname }: URL): Route | undefined {
    if (method === 'GET' && pathname === '/api/v1/backups/changeid') return this.#changeId;
    if (method === 'POST' && pathname.endsWith('/complete')) return this.#complete;
    if (method === 'POST' && pathname.startsWith('/api/v1/telemetry/backup/')) return this.#record;
    return undefined;
  }

  readonly #changeId: Route = async (_request, { searchParams }) => {
    const changeId = this.changeIds.get(Number(searchParams.get('disk_id')));
    if (changeId === undefined || searchParams.get('vm_name') === null) return undefined;
    const texts = { backup_id: '', backup_type: 'full', completed_at: '', backup_job_id: '', message: '' };
    return { vm_name: 'any', disk_id: searchParams.get('disk_id'), change_id: changeId, ...texts };
  };

  readonly #complete: Route = async (request, { pathname }) => {
    const body = CompleteBody.parse(await json(request));
    if (this.refuseCompletion !== undefined) return this.refuseCompletion;
    const backupId = decodeURIComponent(pathname.split('/')[4] ?? '');
    this.completions.push({ backupId, body });
    return { status: 'completed', backup_id: backupId, change_id: body.change_id, message: '', timestamp: '' };
  };

  readonly #record: Route = async (request, { pathname }) => {
    const body = TelemetryPost.parse(await json(request));
    this.telemetry.push({ jobId: decodeURIComponent(pathname.split('/')[5] ?? ''), body });
    return { status: 'success', message: '', timestamp: '' };
  };

  /** The bodies of one job, in the order of their arrival. */
  postsOf(jobId: string): readonly TelemetryPost[] {
    return this.telemetry.filter((post) => post.jobId === jobId).map(({ body }) => body);
  }

  failureOf(jobId: string): Promise<TelemetryPost> {
    return until(() => this.postsOf(jobId).find(({ status }) => status === 'failed'));
  }
}
