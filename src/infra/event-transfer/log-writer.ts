import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { EventStoreDBClient } from '@eventstore/db-client';
import shared from '@eventstore/db-client/generated/shared_pb.js';
import type { BatchAppendReq, BatchAppendResp } from '@eventstore/db-client/generated/streams_pb.js';
import streams from '@eventstore/db-client/generated/streams_pb.js';
import { type ClientDuplexStream, status } from '@grpc/grpc-js';
import { bigVarintField, bytesField, emptyField, message } from '../embedded-event-store/wire.ts';
import { callBatchAppend } from './client-calls.ts';

/** An event with its bytes as they are to be stored. */
export type ProposedBytes = Readonly<{
  id: string;
  type: string;
  contentType: string;
  metadata: Uint8Array;
  data: Uint8Array;
}>;

export type Append = Readonly<{
  stream: string;
  /** Of the newest event that the stream has so far, -1 for none. */
  expected: bigint;
  events: readonly ProposedBytes[];
}>;

export type AppendOutcome =
  | Readonly<{ kind: 'written' }>
  | Readonly<{ kind: 'conflict'; current: bigint }>
  | Readonly<{ kind: 'deleted' }>;

/** What the store refuses for a reason that a repetition does not change. */
export class AppendRefused extends Error {
  override readonly name = 'AppendRefused';
}

/** Its fate is unknown; the same append may be repeated. */
class AppendUnanswered extends Error {
  override readonly name = 'AppendUnanswered';
  readonly code = status.DEADLINE_EXCEEDED;
}

type Waiting = Readonly<{ resolve: (outcome: AppendOutcome) => void; reject: (error: Error) => void; stream: string }>;

const deadlineMs = 30_000;
const closeTimeoutMs = 2_000;
const errorPrefix = 'event_store.client.';

const uuidOf = (id: string) => new shared.UUID().setString(id);

// Field numbers of event_store.client.streams.BatchAppendReq.Options whose types are google's, which only the stubs import.
const optionField = { streamPosition: 2, noStream: 3, deadline: 6 };

const optionsOf = ({ stream, expected }: Append): BatchAppendReq.Options => {
  const seconds = BigInt(Math.ceil((Date.now() + deadlineMs) / 1000));
  const bytes = message(
    expected < 0n ? emptyField(optionField.noStream) : bigVarintField(optionField.streamPosition, expected),
    bytesField(optionField.deadline, message(bigVarintField(1, seconds))),
  );
  const options = streams.BatchAppendReq.Options.deserializeBinary(bytes);
  return options.setStreamIdentifier(new shared.StreamIdentifier().setStreamName(Buffer.from(stream)));
};

const requestOf = (append: Append, correlationId: string): BatchAppendReq => {
  const request = new streams.BatchAppendReq()
    .setCorrelationId(uuidOf(correlationId))
    .setOptions(optionsOf(append))
    .setIsFinal(true);
  for (const event of append.events) {
    const proposed = new streams.BatchAppendReq.ProposedMessage();
    proposed.setId(uuidOf(event.id)).setData(event.data).setCustomMetadata(event.metadata);
    proposed.getMetadataMap().set('type', event.type).set('content-type', event.contentType);
    request.addProposedMessages(proposed);
  }
  return request;
};

/** Throws for every refusal but the two that tell about the stream. */
const outcomeOf = (response: BatchAppendResp, stream: string): AppendOutcome => {
  const error = response.getError();
  if (!error) return { kind: 'written' };
  const details = error.getDetails();
  const name = details?.getTypeName() ?? '';
  if (details && name === `${errorPrefix}WrongExpectedVersion`) {
    const conflict = details.unpack(shared.WrongExpectedVersion.deserializeBinary, name);
    const known = conflict?.hasCurrentStreamRevision() ?? false;
    return { kind: 'conflict', current: known ? BigInt(conflict?.getCurrentStreamRevision() ?? -1) : -1n };
  }
  if (name === `${errorPrefix}StreamDeleted`) return { kind: 'deleted' };
  if (name === `${errorPrefix}Timeout`) throw new AppendUnanswered(`no answer in time about ${stream}`);
  const reason = error.getMessage() || name.slice(errorPrefix.length);
  throw new AppendRefused(`The event store refuses what is to be written to ${stream}: ${reason}`);
};

/**
 * Appends bytes as they are, many in flight on one call, which a server takes in the order in which they were sent. Every
 * append has an exact expected revision, so it may be repeated.
 */
export class LogWriter {
  readonly #client: EventStoreDBClient;
  readonly #waiting = new Map<string, Waiting>();
  #call: Promise<ClientDuplexStream<BatchAppendReq, BatchAppendResp>> | undefined;

  constructor(client: EventStoreDBClient) {
    this.#client = client;
  }

  async append(append: Append): Promise<AppendOutcome> {
    this.#call ??= this.#open();
    const call = await this.#call;
    const correlationId = randomUUID();
    const { promise, resolve, reject } = Promise.withResolvers<AppendOutcome>();
    this.#waiting.set(correlationId, { resolve, reject, stream: append.stream });
    call.write(requestOf(append, correlationId));
    return promise;
  }

  async close(): Promise<void> {
    const call = await this.#call?.catch(() => undefined);
    this.#call = undefined;
    if (!call) return;
    // Ended, not broken off: the client waits for its end when it is disposed of.
    const over = Promise.race([once(call, 'end'), delay(closeTimeoutMs, undefined, { ref: false })]);
    call.end();
    await over.catch(() => undefined);
  }

  async #open(): Promise<ClientDuplexStream<BatchAppendReq, BatchAppendResp>> {
    try {
      const call = await callBatchAppend(this.#client);
      call.on('data', (response: BatchAppendResp) => this.#answer(response));
      call.on('error', (error: Error) => this.#lose(error));
      call.on('end', () => this.#lose(new Error('the event store ended the call')));
      return call;
    } catch (error) {
      this.#call = undefined;
      throw error;
    }
  }

  #answer(response: BatchAppendResp): void {
    const id = response.getCorrelationId()?.getString() ?? '';
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (!waiting) return;
    try {
      waiting.resolve(outcomeOf(response, waiting.stream));
    } catch (error) {
      waiting.reject(error as Error);
    }
  }

  #lose(error: Error): void {
    this.#call = undefined;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject } of waiting) reject(error);
  }
}
