import type { Request, RequestHandler } from 'express';
import type { AuditedAppend } from '#domain/audit/entry.ts';
import type { AuditNote } from './audit.ts';
import type { Log } from './log.ts';
import { requestIdFrom } from './request.ts';
import type { Endpoint } from './route.ts';

/** What is learnt about a request while it is being served; it ends as the one log line. */
export type RequestRecord = {
  readonly requestId: string;
  readonly address: string;
  /** Aborts when the client has gone before its reply was written. */
  readonly clientGone: AbortSignal;
  endpoint?: Endpoint;
  actor?: string;
  errorCode?: string;
  /** For the audit trail: what was asked, what it wrote, and what only the handler knows. */
  dryRun: boolean;
  input?: Readonly<{ params: unknown; body: unknown }>;
  correlationId?: string;
  readonly appends: AuditedAppend[];
  note: AuditNote;
  /** The entry of a command that is accepted and whose reply still waits for something. */
  early?: Promise<void>;
  /** The command's last entry is made. */
  ended?: boolean;
};

/** Whatever it says but a plain no: a request that was meant to change nothing must not be taken for a real one. */
const asksForDryRun = ({ query }: Request): boolean => query.dry_run !== undefined && query.dry_run !== 'false';

const records = new WeakMap<Request, RequestRecord>();

export const recordOf = (request: Request): RequestRecord => {
  const record = records.get(request);
  if (record === undefined) throw new Error('recordRequests must run before everything else');
  return record;
};

/** Gives each request its id, and the log its line once the reply has been written or the client has gone. */
export const recordRequests =
  (log: Log): RequestHandler =>
  (request, response, next) => {
    const startedAt = performance.now();
    const clientGone = new AbortController();
    const record: RequestRecord = {
      requestId: requestIdFrom(request.get('x-request-id')),
      address: request.socket.remoteAddress ?? '',
      clientGone: clientGone.signal,
      ...{ dryRun: asksForDryRun(request), appends: [], note: {} },
    };
    records.set(request, record);
    response.setHeader('x-request-id', record.requestId);
    response.once('close', () => {
      const aborted = !response.writableFinished;
      if (aborted) clientGone.abort(new Error('the client has gone'));
      const { requestId, address, actor, errorCode, endpoint } = record;
      // The pattern, not the path: the query may hold what nobody should read, and patterns can be counted.
      const route = endpoint?.path ?? 'unmatched';
      const facts = {
        requestId,
        method: request.method,
        route,
        status: response.statusCode,
        address,
        actor,
        errorCode,
      };
      log.info({ ...facts, ms: Math.round(performance.now() - startedAt), aborted }, 'request answered');
    });
    next();
  };
