import { Metadata, status } from '@grpc/grpc-js';
import { StoreDamaged } from '../damage.ts';
import { StorageClosed, StorageFull } from '../group-commit.ts';

type Trailers = Readonly<Record<string, string>>;

/** What a call ends with when it fails. Clients decide by the trailer `exception` first, then by the status code. */
export class RpcError extends Error {
  override readonly name = 'RpcError';
  readonly code: status;
  readonly details: string;
  readonly metadata: Metadata;
  /** As the trailer of the same name. */
  readonly exception: string | undefined;

  /** The limit that was exceeded, if that is the reason. */
  readonly limitBytes: number;

  constructor(code: status, details: string, trailers: Trailers = {}) {
    super(details);
    this.code = code;
    this.details = details;
    this.exception = trailers.exception;
    this.limitBytes = Number(trailers['maximum-append-size'] ?? 0);
    this.metadata = new Metadata();
    for (const [key, value] of Object.entries(trailers)) this.metadata.set(key, asciiOnly(value));
  }
}

/** Trailers are ASCII; everything else is percent-encoded. */
const asciiOnly = (text: string): string => text.toWellFormed().replace(/[^\x20-\x7e]+/gu, encodeURIComponent);

export const streamDeleted = (streamName: string): RpcError =>
  new RpcError(status.FAILED_PRECONDITION, `Event stream '${streamName}' is deleted.`, {
    exception: 'stream-deleted',
    'stream-name': streamName,
  });

export const wrongExpectedVersion = (streamName: string, expected: string, actual: string): RpcError =>
  new RpcError(
    status.FAILED_PRECONDITION,
    `Wrong expected revision of stream '${streamName}': expected ${expected}, actual ${actual}.`,
    {
      exception: 'wrong-expected-version',
      'stream-name': streamName,
      'expected-version': expected,
      'actual-version': actual,
    },
  );

export const deadlineExceeded = (): RpcError => new RpcError(status.DEADLINE_EXCEEDED, 'Deadline exceeded.');

export const accessDenied = (): RpcError =>
  new RpcError(status.PERMISSION_DENIED, 'Access denied.', { exception: 'access-denied' });

export const maximumAppendSizeExceeded = (maxAppendSizeBytes: number): RpcError =>
  new RpcError(status.INVALID_ARGUMENT, `Maximum append size of ${maxAppendSizeBytes} bytes exceeded.`, {
    exception: 'maximum-append-size-exceeded',
    'maximum-append-size': String(maxAppendSizeBytes),
  });

export const missingEventProperty = (): RpcError =>
  new RpcError(status.INVALID_ARGUMENT, 'Required metadata properties are missing: type,content-type.', {
    exception: 'missing-required-metadata-property',
    'required-metadata-properties': 'type,content-type',
  });

export const invalidArgument = (details: string): RpcError => new RpcError(status.INVALID_ARGUMENT, details);

/** Any error of a handler as one that tells the client enough and no more. */
export const toRpcError = (error: unknown): RpcError => {
  if (error instanceof RpcError) return error;
  if (error instanceof StorageClosed) return new RpcError(status.UNAVAILABLE, error.message);
  if (error instanceof StoreDamaged) return new RpcError(status.DATA_LOSS, asciiOnly(error.message));
  if (error instanceof StorageFull) return new RpcError(status.RESOURCE_EXHAUSTED, error.message);
  return new RpcError(status.INTERNAL, error instanceof Error ? error.message : 'Unexpected error.');
};
