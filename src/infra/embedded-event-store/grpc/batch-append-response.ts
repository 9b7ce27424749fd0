import type { BatchAppendReq } from '@eventstore/db-client/generated/streams_pb.js';
import { status } from '@grpc/grpc-js';
import type { WriteOutcome } from '../event-writer.ts';
import { bigVarintField, bytesField, emptyField, message, textField, varintField } from '../wire.ts';
import { type RpcError, streamDeleted } from './rpc-error.ts';

// Field numbers of event_store.client.streams.BatchAppendResp and of what it holds.
const response = {
  correlationId: 1,
  error: 2,
  success: 3,
  stream: 4,
  expected: { exact: 5, none: 6, any: 7, exists: 8 },
};
const success = { revision: 1, noStream: 2, position: 3, noPosition: 4 };
const conflict = { actual: 1, actualNoStream: 2, expected: { exact: 3, any: 4, exists: 5, none: 6 } };

type ExpectedFields = Readonly<{ exact: number; none: number; any: number; exists: number }>;
type Answer = Readonly<{ correlationId: Uint8Array; options: BatchAppendReq.Options }>;

const expectedField = (options: BatchAppendReq.Options, fields: ExpectedFields): Uint8Array => {
  if (options.hasStreamPosition()) return bigVarintField(fields.exact, BigInt(options.getStreamPosition()));
  if (options.hasNoStream()) return emptyField(fields.none);
  return emptyField(options.hasAny() ? fields.any : fields.exists);
};

/** The stream's name is what clients put into their errors. */
const answerWith = ({ correlationId, options }: Answer, result: Uint8Array): Buffer =>
  message(
    bytesField(response.correlationId, correlationId),
    result,
    bytesField(response.stream, options.getStreamIdentifier()?.serializeBinary() ?? new Uint8Array()),
    expectedField(options, response.expected),
  );

/** google.rpc.Status with one detail. */
const failure = (code: status, text: string, typeName: string, detail: Uint8Array): Buffer => {
  const any = message(textField(1, `type.googleapis.com/event_store.client.${typeName}`), bytesField(2, detail));
  return bytesField(response.error, message(varintField(1, code), textField(2, text), bytesField(3, any)));
};

const conflictDetail = (options: BatchAppendReq.Options, actualRevision: number): Buffer =>
  message(
    actualRevision < 0 ? emptyField(conflict.actualNoStream) : varintField(conflict.actual, actualRevision),
    expectedField(options, conflict.expected),
  );

const empty = new Uint8Array();

const failureOf = (error: RpcError): Buffer => {
  switch (error.exception) {
    case 'stream-deleted':
      return failure(status.NOT_FOUND, error.details, 'StreamDeleted', empty);
    case 'access-denied':
      return failure(error.code, error.details, 'AccessDenied', empty);
    case 'maximum-append-size-exceeded':
      return failure(error.code, error.details, 'MaximumAppendSizeExceeded', varintField(1, error.limitBytes));
    default:
      // Not `Unknown`, even for a full disk: of that clients show no message.
      return failure(error.code, error.details, 'BadRequest', textField(1, error.details));
  }
};

export const batchAppendFailed = (answer: Answer, error: RpcError): Buffer => answerWith(answer, failureOf(error));

export const batchAppendTimedOut = (answer: Answer): Buffer =>
  answerWith(answer, failure(status.DEADLINE_EXCEEDED, 'Timeout.', 'Timeout', empty));

export const batchAppendDone = (answer: Answer, streamName: string, outcome: WriteOutcome): Buffer => {
  if (outcome.kind === 'deleted') return batchAppendFailed(answer, streamDeleted(streamName));
  if (outcome.kind === 'wrong-revision') {
    const detail = conflictDetail(answer.options, outcome.actualRevision);
    return answerWith(
      answer,
      failure(status.ALREADY_EXISTS, 'Wrong expected version.', 'WrongExpectedVersion', detail),
    );
  }
  const { revision, position } = outcome;
  const at = position === undefined ? undefined : message(varintField(1, position), varintField(2, position));
  const result = message(
    revision < 0 ? emptyField(success.noStream) : varintField(success.revision, revision),
    at ? bytesField(success.position, at) : emptyField(success.noPosition),
  );
  return answerWith(answer, bytesField(response.success, result));
};
