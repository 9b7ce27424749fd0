import { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Request, RequestHandler, Response } from 'express';
import { auditedAppend } from '#commands/audit-ports.ts';
import type { Auditor } from './audit.ts';
import { type DryRun, dryRunReply, refuseDryRun } from './dry-run.ts';
import { parseJson, readBody } from './read-body.ts';
import { commandContextOf, type Idempotency, idempotencyKeyFrom, type RequestFacts, sha256Hex } from './request.ts';
import { type RequestRecord, recordOf } from './request-record.ts';
import { Answer, type Endpoint, type RawRequest, type StreamReply } from './route.ts';

/** Tells who calls, or throws the 401. */
export type Authenticate = (request: Request, access: Endpoint['access']) => Promise<string>;

export type ServeDeps = Readonly<{
  authenticate: Authenticate;
  /** Ends replies that would go on for ever, at the server's stop. */
  stopping: AbortSignal;
  /** A reader that takes nothing for so long is given up. */
  streamStallMs: number;
  auditor: Auditor;
  dryRun: DryRun | undefined;
}>;

/** An endpoint as Express runs it: who, what, then the handler, then the reply; errors go to the error handler. */
export const serve =
  (endpoint: Endpoint, deps: ServeDeps): RequestHandler =>
  async (request, response) => {
    const record = recordOf(request);
    const actor = await deps.authenticate(request, endpoint.access);
    record.actor = actor;
    const bytes = endpoint.body === undefined ? new Uint8Array() : await bodyOf(request, response, endpoint);
    const streams = typeof endpoint.replies[200] === 'string' || endpoint.forms.length > 0;
    const signal = streams ? AbortSignal.any([record.clientGone, deps.stopping]) : record.clientGone;
    const { params, query } = request;
    record.input = { params, body: undefined };
    const body = endpoint.body === undefined ? {} : parseJson(bytes);
    record.input = { params, body };
    const facts = factsOf({ request, record, endpoint, actor, bytes, signal, auditor: deps.auditor });
    const reply = await respond(endpoint, { ...facts, params, query, body }, record.dryRun ? deps : undefined);
    // Nobody is told of a command before the audit trail has it.
    await deps.auditor.record(record, outcomeOf(reply));
    if (reply instanceof Answer) sendAnswer(response, reply);
    else await sendStream(request, response, { reply, signal, stallMs: deps.streamStallMs });
  };

const respond = (
  endpoint: Endpoint,
  request: RawRequest,
  dry: Pick<ServeDeps, 'dryRun'> | undefined,
): Promise<Answer | StreamReply> => {
  if (!dry) return endpoint.respond(request);
  return endpoint.dryRun && dry.dryRun ? dryRunReply(dry.dryRun, endpoint, request) : refuseDryRun(request);
};

/** An answer may be a refusal too, as that of a login is. */
const outcomeOf = (reply: Answer | StreamReply) => {
  const answered = reply instanceof Answer;
  return { status: reply.status ?? 200, code: null, reason: null, reply: answered ? reply.body : undefined };
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
  auditor: Auditor;
}>;

/** The body is hashed for who sends a key, and for nobody else. */
const idempotencyOf = (
  key: string,
  { request, endpoint, bytes }: Pick<FactsInput, 'request' | 'endpoint' | 'bytes'>,
): Idempotency => {
  // A dry run is the same request as the real one.
  const url = request.url.replace(/([?&])dry_run=[^&]*&?/, '$1').replace(/[?&]$/, '');
  return {
    key,
    operation: `${endpoint.method} ${endpoint.path}`,
    requestSha256: sha256Hex(endpoint.method, url, bytes),
  };
};

const factsOf = ({ request, record, endpoint, actor, bytes, signal, auditor }: FactsInput): RequestFacts => {
  const { requestId, address } = record;
  const key = idempotencyKeyFrom(request.get('idempotency-key'));
  const target = `${endpoint.method} ${request.path}`;
  const contextOf = commandContextOf({ actor, requestId, target, key });
  return {
    actor,
    address,
    requestId,
    signal,
    idempotency: key === undefined ? undefined : idempotencyOf(key, { request, endpoint, bytes }),
    header: (name) => request.get(name),
    audited: (note) => {
      record.note = { ...record.note, ...note };
    },
    appended: () => [...record.appends],
    accepted: (known) => auditor.recordEarly(record, known),
    context: (correlationId) => {
      const context = contextOf(correlationId);
      record.correlationId = context.correlationId;
      return { ...context, onAppended: (appended) => record.appends.push(auditedAppend(appended)) };
    },
  };
};

const sendAnswer = (response: Response, { status, body, headers }: Answer): void => {
  if (response.destroyed) return;
  const text = JSON.stringify(body);
  // Not through Express, which would look at each part of it again. What the hub tells is true now, and often only now.
  response
    .writeHead(status, {
      'content-type': 'application/json; charset=utf-8',
      'content-length': Buffer.byteLength(text),
      'cache-control': 'no-store',
      ...headers,
    })
    .end(text);
};

type Streaming = Readonly<{ reply: StreamReply; signal: AbortSignal; stallMs: number }>;

const sendStream = async (request: Request, response: Response, streaming: Streaming): Promise<void> => {
  const { reply, signal, stallMs } = streaming;
  const source = reply.body instanceof Readable ? reply.body : Readable.from(reply.body);
  try {
    // Not through Express, which adds a charset to content types.
    response.writeHead(reply.status ?? 200, { 'cache-control': 'no-store', ...reply.headers }).flushHeaders();
    if (request.method === 'HEAD') {
      source.destroy();
      response.end();
      return;
    }
    // Counts only time in which not a byte moves; a long transfer may last as long as it likes.
    response.setTimeout(stallMs, () => response.destroy());
    const sink = reply.recycle ? recycling(response, reply.recycle) : response;
    await (reply.brokenBy ? pipeline(source, sink, { signal: reply.brokenBy }) : pipeline(source, sink));
  } catch (error) {
    if (reply.brokenBy?.aborted) throw reply.brokenBy.reason;
    if (!isExpectedEnd(error, signal)) throw error;
  } finally {
    reply.release?.();
  }
};

/** The response, one piece at a time: only when the kernel has taken a piece is its memory free. */
const recycling = (response: Response, recycle: (piece: Uint8Array) => void): Writable => {
  const writable = new Writable({
    highWaterMark: 1,
    write: (piece: Buffer, _encoding, done) => {
      response.write(piece, (error) => {
        recycle(piece);
        done(error);
      });
    },
    final: (done) => response.end(done),
  });
  response.once('close', () => writable.destroy());
  return writable;
};

/** The client has gone, or the server stops: nothing failed. */
const isExpectedEnd = (error: unknown, { aborted, reason }: AbortSignal): boolean => {
  const { code, name } = error instanceof Error ? (error as NodeJS.ErrnoException) : {};
  return code === 'ERR_STREAM_PREMATURE_CLOSE' || (aborted && (error === reason || name === 'AbortError'));
};
