import shared from '@eventstore/db-client/generated/shared_pb.js';
import type { AppendReq, AppendResp } from '@eventstore/db-client/generated/streams_pb.js';
import streams from '@eventstore/db-client/generated/streams_pb.js';
import { type ServerReadableStream, type sendUnaryData, status } from '@grpc/grpc-js';
import type { WriteOutcome } from '../event-writer.ts';
import { type Caller, requireAccess } from '../security/authoriser.ts';
import { readExpectedRevision } from './expectation.ts';
import { ProposedAppend } from './proposed-append.ts';
import { deadlineExceeded, invalidArgument, RpcError, streamDeleted, toRpcError } from './rpc-error.ts';
import type { Service } from './service.ts';
import { readWritableStreamName } from './stream-name.ts';

type Outcome<K extends WriteOutcome['kind']> = Extract<WriteOutcome, { kind: K }>;

const successOf = ({ revision, position }: Outcome<'written'>): AppendResp => {
  const success = new streams.AppendResp.Success();
  if (revision < 0) success.setNoStream(new shared.Empty());
  else success.setCurrentRevision(String(revision));
  if (position === undefined) return new streams.AppendResp().setSuccess(success.setNoPosition(new shared.Empty()));
  const at = new streams.AppendResp.Position().setCommitPosition(String(position)).setPreparePosition(String(position));
  return new streams.AppendResp().setSuccess(success.setPosition(at));
};

/** A conflict is an answer here, not an error. */
const conflictOf = (actualRevision: number, options: AppendReq.Options): AppendResp => {
  const conflict = new streams.AppendResp.WrongExpectedVersion();
  if (actualRevision < 0) conflict.setCurrentNoStream(new shared.Empty());
  else conflict.setCurrentRevision(String(actualRevision));
  if (options.hasRevision()) conflict.setExpectedRevision(options.getRevision());
  else if (options.hasNoStream()) conflict.setExpectedNoStream(new shared.Empty());
  else if (options.hasAny()) conflict.setExpectedAny(new shared.Empty());
  else conflict.setExpectedStreamExists(new shared.Empty());
  return new streams.AppendResp().setWrongExpectedVersion(conflict);
};

const commit = async (
  service: Service,
  caller: Caller,
  options: AppendReq.Options,
  proposed: ProposedAppend,
): Promise<AppendResp> => {
  const streamName = readWritableStreamName(options.getStreamIdentifier());
  requireAccess(caller, 'write', streamName);
  const expected = readExpectedRevision(options);
  const outcome = await service.storage.append({ streamName, expected, events: proposed.events }, proposed.sizeBytes);
  switch (outcome.kind) {
    case 'written':
      return successOf(outcome);
    case 'wrong-revision':
      return conflictOf(outcome.actualRevision, options);
    case 'deleted':
      throw streamDeleted(streamName);
  }
};

/** Append: the options first, then one event per message; written when the client has sent all. */
export const createAppendCall =
  (service: Service) =>
  (call: ServerReadableStream<AppendReq, AppendResp>, callback: sendUnaryData<AppendResp>): void => {
    const proposed = new ProposedAppend(service.limits);
    let options: AppendReq.Options | undefined;
    let answered = false;
    const answer = (error: unknown, response: AppendResp | null) => {
      if (answered) return;
      answered = true;
      close();
      callback(error === null ? null : toRpcError(error), response);
    };
    // An append cut off by a stop has an unknown fate: UNAVAILABLE says so.
    const close = service.calls.add(({ details }) => answer(new RpcError(status.UNAVAILABLE, details), null));
    const caller = service.authoriser.identify(call.metadata);
    caller.catch((error: unknown) => answer(error, null));
    call.on('data', (request: AppendReq) => {
      if (answered) return;
      try {
        const message = request.getProposedMessage();
        if (request.hasOptions()) options = request.getOptions();
        else if (message) proposed.add(message);
      } catch (error) {
        answer(error, null);
      }
    });
    call.on('cancelled', () => answer(new RpcError(status.CANCELLED, 'Cancelled.'), null));
    call.on('end', () => {
      if (answered || call.cancelled) return;
      // The client has been told by its own clock; the timer for it may be due behind the messages that were read just now.
      if (Number(call.getDeadline()) <= Date.now()) return answer(deadlineExceeded(), null);
      const sent = options;
      if (!sent) return answer(invalidArgument('The append has no options.'), null);
      caller
        .then((known) => commit(service, known, sent, proposed))
        .then(
          (response) => answer(null, response),
          (error: unknown) => answer(error, null),
        );
    });
  };
