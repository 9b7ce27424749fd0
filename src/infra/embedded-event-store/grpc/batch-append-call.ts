import type { BatchAppendReq } from '@eventstore/db-client/generated/streams_pb.js';
import type { ServerDuplexStream } from '@grpc/grpc-js';
import { StorageClosed } from '../group-commit.ts';
import { type Caller, requireAccess } from '../security/authoriser.ts';
import { batchAppendDone, batchAppendFailed, batchAppendTimedOut } from './batch-append-response.ts';
import { readExpectedRevision } from './expectation.ts';
import { ProposedAppend } from './proposed-append.ts';
import { readEventId } from './proposed-event.ts';
import { type RpcError, toRpcError } from './rpc-error.ts';
import type { Service } from './service.ts';
import { readWritableStreamName } from './stream-name.ts';

type Call = ServerDuplexStream<BatchAppendReq, Uint8Array>;

/** A request whose last part has not arrived yet. */
type OpenRequest = Readonly<{
  correlationId: Uint8Array;
  options: BatchAppendReq.Options;
  proposed: ProposedAppend;
}> & { timer?: NodeJS.Timeout };

/**
 * The clients' way to append: one stream per client carries many requests, in parts and interleaved. The one promise that
 * must never be broken: exactly one answer per correlation id, for a client crashes over a second one and waits for
 * ever for a missing one.
 */
class BatchAppendSession {
  readonly #call: Call;
  readonly #service: Service;
  readonly #caller: Promise<Caller>;
  readonly #open = new Map<string, OpenRequest>();
  readonly #committing = new Set<string>();
  #ended = false;
  #closed = false;

  constructor(service: Service, call: Call) {
    this.#service = service;
    this.#call = call;
    this.#caller = service.authoriser.identify(call.metadata);
    this.#caller.catch((error: unknown) => this.close(toRpcError(error)));
  }

  receive(part: BatchAppendReq): void {
    if (this.#closed) return;
    const key = readEventId(part.getCorrelationId());
    if (this.#committing.has(key)) return;
    const request = this.#open.get(key) ?? this.#begin(key, part);
    if (!request) return; // a late part of a request that was answered early, which clients do send
    try {
      for (const event of part.getProposedMessagesList()) request.proposed.add(event);
    } catch (error) {
      this.#answer(key, batchAppendFailed(request, toRpcError(error)));
      return;
    }
    if (part.getIsFinal()) this.#commit(key, request);
    else this.#waitForMore(key, request);
  }

  /** The client sends no more; what it has sent is still answered. */
  finish(): void {
    this.#ended = true;
    this.#endWhenAnswered();
  }

  close(error?: RpcError): void {
    if (this.#closed) return;
    this.#closed = true;
    for (const { timer } of this.#open.values()) clearTimeout(timer);
    this.#open.clear();
    if (error) this.#call.emit('error', error);
  }

  #begin(key: string, part: BatchAppendReq): OpenRequest | undefined {
    const options = part.getOptions();
    const correlationId = part.getCorrelationId()?.serializeBinary();
    if (!options || !correlationId) return undefined;
    const request: OpenRequest = { correlationId, options, proposed: new ProposedAppend(this.#service.limits) };
    this.#open.set(key, request);
    if (this.#remainingMs(options) > 0) return request;
    this.#answer(key, batchAppendTimedOut(request));
    return undefined;
  }

  #remainingMs(options: BatchAppendReq.Options): number {
    const deadlineMs = options.getDeadline()?.toDate().getTime() ?? Number.POSITIVE_INFINITY;
    return Math.min(deadlineMs - Date.now(), this.#service.limits.writeTimeoutMs);
  }

  /** Counted from the latest part: a long append on a busy machine is slow, not dead. */
  #waitForMore(key: string, request: OpenRequest): void {
    clearTimeout(request.timer);
    const timeOut = () => this.#answer(key, batchAppendTimedOut(request));
    request.timer = setTimeout(timeOut, Math.max(0, this.#remainingMs(request.options)));
  }

  #commit(key: string, request: OpenRequest): void {
    clearTimeout(request.timer);
    this.#open.delete(key);
    this.#committing.add(key);
    const { options, proposed } = request;
    this.#append(options, proposed).then(
      ([streamName, outcome]) => this.#answer(key, batchAppendDone(request, streamName, outcome)),
      (error: unknown) => {
        // A stop ends the whole call: what became of this request is unknown, an answer would claim to know.
        if (!(error instanceof StorageClosed)) this.#answer(key, batchAppendFailed(request, toRpcError(error)));
      },
    );
  }

  async #append(options: BatchAppendReq.Options, { events, sizeBytes }: ProposedAppend) {
    const streamName = readWritableStreamName(options.getStreamIdentifier());
    requireAccess(await this.#caller, 'write', streamName);
    const expected = readExpectedRevision({
      hasRevision: () => options.hasStreamPosition(),
      getRevision: () => options.getStreamPosition(),
      hasNoStream: () => options.hasNoStream(),
      hasAny: () => options.hasAny(),
      hasStreamExists: () => options.hasStreamExists(),
    });
    return [streamName, await this.#service.storage.append({ streamName, expected, events }, sizeBytes)] as const;
  }

  #answer(key: string, response: Uint8Array): void {
    clearTimeout(this.#open.get(key)?.timer);
    const wasUnanswered = this.#open.delete(key) || this.#committing.delete(key);
    if (!wasUnanswered || this.#closed) return;
    // A client that does not read its answers is not read either.
    if (!this.#call.write(response)) this.#call.pause();
    this.#endWhenAnswered();
  }

  #endWhenAnswered(): void {
    if (!this.#ended || this.#closed || this.#open.size + this.#committing.size > 0) return;
    this.close();
    this.#call.end();
  }
}

export const createBatchAppendCall =
  (service: Service) =>
  (call: Call): void => {
    const session = new BatchAppendSession(service, call);
    const unregister = service.calls.add((error) => session.close(error));
    const forget = () => {
      unregister();
      session.close();
    };
    call.on('data', (part: BatchAppendReq) => {
      try {
        session.receive(part);
      } catch (error) {
        session.close(toRpcError(error));
      }
    });
    call.on('drain', () => call.resume());
    call.on('end', () => session.finish());
    call.on('cancelled', forget);
    call.on('close', forget);
  };
