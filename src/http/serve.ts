import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Request, RequestHandler, Response } from 'express';
import { parseJson, readBody } from './read-body.ts';
import { commandContextOf, idempotencyKeyFrom, type RequestFacts, sha256Hex } from './request.ts';
import { type RequestRecord, recordOf } from './request-record.ts';
import { Answer, type Endpoint, type StreamReply } from './route.ts';

/** Tells who calls, or throws the 401. */
export type Authenticate = (request: Request, access: Endpoint['access']) => Promise<string>;

export type ServeDeps = Readonly<{
  authenticate: Authenticate;
  /** Ends replies that would go on for ever, at the server's stop. */
  stopping: AbortSignal;
  /** A reader that takes nothing for so long is given up. */
  streamStallMs: number;
}>;

/** An endpoint as Express runs it: who, what, then the handler, then the reply; errors go to the error handler. */
export const serve =
  (endpoint: Endpoint, deps: ServeDeps): RequestHandler =>
  async (request, response) => {
    const record = recordOf(request);
    const actor = await deps.authenticate(request, endpoint.access);
    record.actor = actor;
    const bytes = endpoint.body === undefined ? new Uint8Array() : await bodyOf(request, response, endpoint);
    const streams = typeof endpoint.replies[200] === 'string';
    const signal = streams ? AbortSignal.any([record.clientGone, deps.stopping]) : record.clientGone;
    const reply = await endpoint.respond({
      ...factsOf({ request, record, endpoint, actor, bytes, signal }),
      params: request.params,
      query: request.query,
      body: endpoint.body === undefined ? {} : parseJson(bytes),
    });
    if (reply instanceof Answer) sendAnswer(response, reply);
    else await sendStream(request, response, { reply, signal, stallMs: deps.streamStallMs });
  };

const bodyOf = (request: Request, response: Response, { maxBodyBytes }: Endpoint): Promise<Uint8Array> =>
  readBody(request, response, maxBodyBytes);

type FactsInput = Readonly<{
  request: Request;
  record: RequestRecord;
  endpoint: Endpoint;
  actor: string;
  bytes: Uint8Array;
  signal: AbortSignal;
}>;

const factsOf = ({ request, record, endpoint, actor, bytes, signal }: FactsInput): RequestFacts => {
  const { requestId, address } = record;
  const key = idempotencyKeyFrom(request.get('idempotency-key'));
  const target = `${endpoint.method} ${request.path}`;
  const operation = `${endpoint.method} ${endpoint.path}`;
  const requestSha256 = sha256Hex(endpoint.method, request.url, bytes);
  return {
    actor,
    address,
    requestId,
    signal,
    idempotency: key === undefined ? undefined : { key, operation, requestSha256 },
    header: (name) => request.get(name),
    context: commandContextOf({ actor, requestId, target, key }),
  };
};

const sendAnswer = (response: Response, { status, body, headers }: Answer): void => {
  if (response.destroyed) return;
  // What the hub tells is true now, and often only now.
  response.status(status).set('cache-control', 'no-store').set(headers).json(body);
};

type Streaming = Readonly<{ reply: StreamReply; signal: AbortSignal; stallMs: number }>;

const sendStream = async (request: Request, response: Response, streaming: Streaming): Promise<void> => {
  const { reply, signal, stallMs } = streaming;
  const source = Readable.from(reply.body);
  try {
    // Not through Express, which adds a charset to content types.
    response.writeHead(200, { 'cache-control': 'no-store', ...reply.headers }).flushHeaders();
    if (request.method === 'HEAD') {
      source.destroy();
      response.end();
      return;
    }
    // Counts only time in which not a byte moves; a long transfer may last as long as it likes.
    response.setTimeout(stallMs, () => response.destroy());
    await pipeline(source, response);
  } catch (error) {
    if (!isExpectedEnd(error, signal)) throw error;
  } finally {
    reply.release?.();
  }
};

/** The client has gone, or the server stops: nothing failed. */
const isExpectedEnd = (error: unknown, { aborted, reason }: AbortSignal): boolean => {
  const { code, name } = error instanceof Error ? (error as NodeJS.ErrnoException) : {};
  return code === 'ERR_STREAM_PREMATURE_CLOSE' || (aborted && (error === reason || name === 'AbortError'));
};
