import shared from '@eventstore/db-client/generated/shared_pb.js';
import type { DeleteReq, DeleteResp, TombstoneReq, TombstoneResp } from '@eventstore/db-client/generated/streams_pb.js';
import streams from '@eventstore/db-client/generated/streams_pb.js';
import type { ServerUnaryCall, sendUnaryData } from '@grpc/grpc-js';
import type { WriteOutcome } from '../event-writer.ts';
import type { ExpectedRevision } from '../expected-revision.ts';
import { type Caller, requireAccess } from '../security/authoriser.ts';
import { expectedVersionOf, readExpectedRevision } from './expectation.ts';
import { invalidArgument, streamDeleted, toRpcError, wrongExpectedVersion } from './rpc-error.ts';
import type { Service } from './service.ts';
import { readWritableStreamName } from './stream-name.ts';

type Write = (streamName: string, expected: ExpectedRevision) => Promise<WriteOutcome>;

/** Returns the position of what was written; throws `RpcError`. */
const perform = async (
  caller: Promise<Caller>,
  options: DeleteReq.Options | TombstoneReq.Options | undefined,
  write: Write,
): Promise<number | undefined> => {
  const known = await caller;
  if (!options) throw invalidArgument('The request has no options.');
  const streamName = readWritableStreamName(options.getStreamIdentifier());
  requireAccess(known, 'delete', streamName);
  const outcome = await write(streamName, readExpectedRevision(options));
  switch (outcome.kind) {
    case 'written':
      return outcome.position;
    case 'wrong-revision':
      throw wrongExpectedVersion(streamName, expectedVersionOf(options), String(outcome.actualRevision));
    case 'deleted':
      throw streamDeleted(streamName);
  }
};

export const createDeleteCall =
  ({ storage, authoriser }: Service) =>
  (call: ServerUnaryCall<DeleteReq, DeleteResp>, callback: sendUnaryData<DeleteResp>): void => {
    perform(authoriser.identify(call.metadata), call.request.getOptions(), storage.delete).then(
      (position) => {
        const at = new streams.DeleteResp.Position();
        at.setCommitPosition(String(position)).setPreparePosition(String(position));
        const response = new streams.DeleteResp();
        callback(null, position === undefined ? response.setNoPosition(new shared.Empty()) : response.setPosition(at));
      },
      (error: unknown) => callback(toRpcError(error)),
    );
  };

export const createTombstoneCall =
  ({ storage, authoriser }: Service) =>
  (call: ServerUnaryCall<TombstoneReq, TombstoneResp>, callback: sendUnaryData<TombstoneResp>): void => {
    perform(authoriser.identify(call.metadata), call.request.getOptions(), storage.tombstone).then(
      (position) => {
        const at = new streams.TombstoneResp.Position();
        at.setCommitPosition(String(position)).setPreparePosition(String(position));
        const response = new streams.TombstoneResp();
        callback(null, position === undefined ? response.setNoPosition(new shared.Empty()) : response.setPosition(at));
      },
      (error: unknown) => callback(toRpcError(error)),
    );
  };
