import type { RequestHandler } from 'express';
import { recordOf } from './request-record.ts';

/** A request as it begins; the route is not known yet. */
export type BegunRequest = Readonly<{
  method: string;
  requestId: string;
  /** A request header, by its lower-case name. */
  header: (name: string) => string | undefined;
  /** For the reply, before anything of it is written. */
  setHeader: (name: string, value: string) => void;
}>;

export type EndedRequest = Readonly<{
  method: string;
  /** The pattern, never the path: patterns can be counted, and a path may hold what nobody should read. */
  route: string;
  status: number;
  durationMs: number;
  /** Headers and body, as far as they were handed to the kernel or wait for it. */
  sentBytes: number;
  /** The client went before the reply was written. */
  aborted: boolean;
  /** A reply without an end of its own: its duration is the reader's patience. */
  streamed: boolean;
  actor: string | undefined;
  errorCode: string | undefined;
}>;

/** Whoever watches the requests. Neither call may throw. */
export interface RequestObserver {
  /** Has to call `run`, which serves the rest of the request, and is told how that ended. */
  observe(request: BegunRequest, run: () => void): (ended: EndedRequest) => void;
}

/** Comes right after the requests' records, so that everything else of a request is observed. */
export const observeRequests =
  (observer: RequestObserver): RequestHandler =>
  (request, response, next) => {
    const startedAtMs = performance.now();
    // A connection serves one request after the other.
    const { socket } = request;
    const sentBefore = socket.bytesWritten;
    const record = recordOf(request);
    const begun: BegunRequest = {
      method: request.method,
      requestId: record.requestId,
      header: (name) => request.get(name),
      setHeader: (name, value) => void response.setHeader(name, value),
    };
    // `run` may end the request at once: listen first.
    let end: ((ended: EndedRequest) => void) | undefined;
    response.once('close', () => {
      const { endpoint, actor, errorCode } = record;
      end?.({
        ...{ method: request.method, status: response.statusCode, actor, errorCode },
        route: endpoint?.path ?? pageRoute(request.route) ?? 'unmatched',
        durationMs: performance.now() - startedAtMs,
        // A connection that broke forgets what waited, also of the reply before.
        sentBytes: Math.max(0, socket.bytesWritten - sentBefore),
        aborted: !response.writableFinished,
        streamed: typeof endpoint?.replies[200] === 'string',
      });
    });
    end = observer.observe(begun, next);
  };

/** Express notes the route of a page, which is no endpoint, on the request. */
const pageRoute = (route: unknown): string | undefined => {
  const path = (route as Readonly<{ path?: unknown }> | undefined)?.path;
  return typeof path === 'string' ? path : undefined;
};
