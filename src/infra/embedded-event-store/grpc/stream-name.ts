import type { StreamIdentifier } from '@eventstore/db-client/generated/shared_pb.js';
import { accessDenied, invalidArgument } from './rpc-error.ts';

export const readStreamName = (identifier: StreamIdentifier | undefined): string => {
  const name = Buffer.from(identifier?.getStreamName_asU8() ?? []).toString('utf8');
  if (name === '' || name === '$$' || name.includes('\0')) throw invalidArgument(`'${name}' is no name of a stream.`);
  return name;
};

/** $all is the log itself: it can be read, not written to. */
export const readWritableStreamName = (identifier: StreamIdentifier | undefined): string => {
  const name = readStreamName(identifier);
  if (name === '$all') throw accessDenied();
  return name;
};
