import express, { type ErrorRequestHandler, type Express, type RequestHandler, type Router } from 'express';
import helmet from 'helmet';
import type { AuditTrail } from '#commands/audit-ports.ts';
import { type Auditor, createAuditor } from './audit.ts';
import { type AllowedOrigins, cors } from './cors.ts';
import type { DryRun } from './dry-run.ts';
import { shapeError } from './error-shapes.ts';
import { HttpProblem, type Problem, problemOf } from './errors.ts';
import type { Log } from './log.ts';
import { observeRequests, type RequestObserver } from './observe.ts';
import { recordOf, recordRequests } from './request-record.ts';
import type { Endpoint } from './route.ts';
import { type Authenticate, serve } from './serve.ts';

export type AppDeps = Readonly<{
  endpoints: readonly Endpoint[];
  authenticate: Authenticate;
  log: Log;
  cors: AllowedOrigins;
  /** Pages and files beside the API: its documentation, the console. They come after the endpoints. */
  pages?: readonly Router[];
  streamStallMs?: number;
  /** Where commands are recorded; none for an application that is only a part of a hub. */
  audit?: AuditTrail;
  /** Answers `?dry_run=true`; without it that is refused. */
  dryRun?: DryRun;
  /** Watch every request, the outermost first. */
  observers?: readonly RequestObserver[];
}>;

export type HttpApp = Readonly<{
  express: Express;
  /** Ends the replies that have no end of their own. */
  endStreams: () => void;
}>;

export const createApp = (deps: AppDeps): HttpApp => {
  const stop = new AbortController();
  const app = express().disable('x-powered-by').disable('etag');
  app.use(recordRequests(deps.log), ...(deps.observers ?? []).map(observeRequests), replyHeaders, cors(deps.cors));
  const auditor = createAuditor(deps.audit);
  mountEndpoints(app, { ...deps, auditor }, stop.signal);
  app.use(pageHeaders, ...(deps.pages ?? []));
  app.use(unknownRoute, errorHandler(deps.log, auditor));
  return { express: app, endStreams: () => stop.abort(new Error('the server stops')) };
};

/**
 * For what is no page: should a browser show it all the same, it is what it says to be, loads nothing and is framed by nobody.
 * The rest of helmet's headers speak of pages, and each costs the hub and its callers time with every reply.
 */
const replyHeaders: RequestHandler = (_request, response, next) => {
  response
    .setHeader('content-security-policy', "default-src 'none'; frame-ancestors 'none'")
    .setHeader('x-content-type-options', 'nosniff')
    .setHeader('cross-origin-resource-policy', 'same-origin');
  next();
};

/** Everything from the hub itself; styles set by scripts are the one liberty, the API page needs it. */
const pageHeaders: RequestHandler = helmet({
  contentSecurityPolicy: {
    useDefaults: false,
    directives: {
      'default-src': ["'self'"],
      'style-src': ["'self'", "'unsafe-inline'"],
      'img-src': ["'self'", 'data:', 'blob:'],
      'object-src': ["'none'"],
      'base-uri': ["'none'"],
      'form-action': ["'self'"],
      'frame-ancestors': ["'none'"],
    },
  },
  // The hub speaks plain HTTP; whether its host is to be reached by HTTPS only is for the proxy that has the certificate.
  strictTransportSecurity: false,
});

type MountDeps = AppDeps & Readonly<{ auditor: Auditor }>;

const mountEndpoints = (app: Express, deps: MountDeps, stopping: AbortSignal): void => {
  const { authenticate, auditor, dryRun, streamStallMs = 120_000 } = deps;
  const serving = { authenticate, stopping, streamStallMs, auditor, dryRun };
  const routers = new Map<string, Router>();
  for (const endpoints of byPath(deps.endpoints)) {
    const methods = endpoints.map(({ method }) => method);
    const [first] = endpoints;
    if (!first) continue;
    const router = routers.get(resourceOf(first.path)) ?? express.Router();
    routers.set(resourceOf(first.path), router);
    for (const endpoint of endpoints) {
      const handlers = [bind(endpoint), ...endpoint.guards, serve(endpoint, serving)];
      const method = endpoint.method.toLowerCase() as Lowercase<Endpoint['method']>;
      router[method](endpoint.path, ...handlers);
    }
    router.all(first.path, bind(first), wrongMethod(methods));
  }
  app.use(byResource(routers));
};

/** `/api/v1/backups` of everything below it. As Express does, without regard to case or to a slash at the end. */
const resourceOf = (path: string): string => path.split('/', 4).join('/').replace(/\/$/, '').toLowerCase();

/** Express tries its routes one after the other, and there are more than a hundred: most of the way is saved here. */
const byResource =
  (routers: ReadonlyMap<string, Router>): RequestHandler =>
  (request, response, next) => {
    const router = routers.get(resourceOf(request.path));
    if (router) router(request, response, next);
    else next();
  };

/** Literal segments beat parameters (`/backups/stats` before `/backups/:backup_id`), whatever the order of the list. */
const byPath = (endpoints: readonly Endpoint[]): readonly (readonly Endpoint[])[] => {
  const groups = Map.groupBy(endpoints, ({ path }) => path.replace(/:\w+/g, ':'));
  for (const [shape, sameShape] of groups) {
    if (new Set(sameShape.map(({ method }) => method)).size < sameShape.length)
      throw new Error(`two endpoints have the same method and path ${shape}`);
  }
  return [...groups].sort(([a], [b]) => rank(a).localeCompare(rank(b))).map(([, sameShape]) => sameShape);
};

const rank = (shape: string): string => shape.replace(/[^/:]+/g, '0').replaceAll(':', '1');

/** Known from here on, so that an error gets the shape of its group. */
const bind =
  (endpoint: Endpoint): RequestHandler =>
  (request, _response, next) => {
    recordOf(request).endpoint = endpoint;
    next();
  };

const wrongMethod = (methods: readonly Endpoint['method'][]): RequestHandler => {
  const allow = [...methods, ...(methods.includes('GET') ? ['HEAD'] : []), 'OPTIONS'].join(', ');
  return (request) => {
    recordOf(request).ended = true; // no command of this path, so none for the audit trail
    const message = `${request.method} is not allowed here`;
    throw new HttpProblem({
      status: 405,
      code: 'method-not-allowed',
      message,
      details: `allowed: ${allow}`,
      headers: { allow },
    });
  };
};

const unknownRoute: RequestHandler = (request) => {
  throw new HttpProblem({ status: 404, code: 'unknown-route', message: 'No such route', details: request.path });
};

const errorHandler =
  (log: Log, auditor: Auditor): ErrorRequestHandler =>
  async (error: unknown, request, response, _next) => {
    const record = recordOf(request);
    const problem = problemOf(error, record.endpoint?.statuses);
    record.errorCode = problem.code;
    // What was broken off because nobody waits for it has not failed; a stream that breaks off has.
    if (problem.status >= 500 && (response.headersSent || !record.clientGone.aborted))
      log.error({ err: error, requestId: record.requestId, route: record.endpoint?.path }, 'request failed');
    const { status, code, message: reason } = problem;
    await auditor.record(record, { status, code, reason, reply: undefined });
    if (response.headersSent || response.destroyed) {
      response.destroy(); // half a reply must not look like a whole one
      return;
    }
    const facts = { ...problem, at: new Date() };
    response
      .status(problem.status)
      .set({ ...problem.headers, 'x-error-code': problem.code, 'cache-control': 'no-store' })
      .json(shapeError(groupOf(problem, request.path, record.endpoint), facts));
  };

const repositoriesPath = /^\/api\/v1\/repositories(\/|$)/;

/** A missing or bad token is told in one shape everywhere but where clients read `message`. */
const groupOf = ({ status }: Problem, path: string, endpoint: Endpoint | undefined): Endpoint['group'] => {
  const group = endpoint?.group ?? (repositoriesPath.test(path) ? 'E2' : 'E1');
  return status === 401 && group === 'E2' ? 'E1' : group;
};
