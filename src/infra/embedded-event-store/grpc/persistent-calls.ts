import type {
  CreateReq,
  CreateResp,
  DeleteReq,
  DeleteResp,
  GetInfoReq,
  GetInfoResp,
  ListReq,
  ListResp,
  ReplayParkedReq,
  ReplayParkedResp,
  UpdateReq,
  UpdateResp,
} from '@eventstore/db-client/generated/persistent_pb.js';
import persistent from '@eventstore/db-client/generated/persistent_pb.js';
import type { Empty, StreamIdentifier } from '@eventstore/db-client/generated/shared_pb.js';
import shared from '@eventstore/db-client/generated/shared_pb.js';
import type { ServerUnaryCall, sendUnaryData } from '@grpc/grpc-js';
import { allEvents, type GroupId } from '../persistent-subscriptions/group-config.ts';
import { inspectGroup } from '../persistent-subscriptions/group-info.ts';
import { GroupRefused } from '../persistent-subscriptions/group-refused.ts';
import type { Groups } from '../persistent-subscriptions/groups.ts';
import { type Caller, requireOperator } from '../security/authoriser.ts';
import { toPersistentError } from './persistent-error.ts';
import { toSubscriptionInfo } from './persistent-info.ts';
import { notAll, readGroupName, readGroupRequest } from './persistent-settings.ts';
import { accessDenied, invalidArgument } from './rpc-error.ts';
import type { Service } from './service.ts';
import { readStreamName } from './stream-name.ts';

type Call<Request, Response> = (call: ServerUnaryCall<Request, Response>, callback: sendUnaryData<Response>) => void;

type Perform<Request, Response> = (request: Request) => Promise<Response> | Response;

/** The fields by which Delete, GetInfo, ReplayParked and Read name a group. */
export type GroupOptions = Readonly<{
  hasAll: () => boolean;
  getStreamIdentifier: () => StreamIdentifier | undefined;
  getGroupName: () => string;
}>;

/** Throws `RpcError`. */
export const readGroupId = (options: GroupOptions | undefined): GroupId => {
  if (!options) throw invalidArgument('The request has no options.');
  const eventSource = options.hasAll() ? allEvents : readStreamName(options.getStreamIdentifier());
  return { eventSource, groupName: readGroupName(options.getGroupName()) };
};

/** Statistics are for everybody who signed in. */
const requireKnown = (caller: Caller): void => {
  if (!caller.isKnown) throw accessDenied();
};

const readListedSource = (options: ListReq.Options | undefined): string | undefined => {
  if (!options) throw invalidArgument('The request has no options.');
  const forStream = options.getListForStream();
  if (!forStream) return undefined;
  return forStream.hasAll() ? allEvents : readStreamName(forStream.getStream());
};

const readStopAt = (options: ReplayParkedReq.Options | undefined, id: GroupId): number | undefined => {
  if (!options?.hasStopAt()) return undefined;
  const stopAt = Number(options.getStopAt());
  if (stopAt >= 0) return stopAt;
  throw new GroupRefused('failed', id, 'Cannot stop replaying parked message at a negative version.');
};

/** Everything about groups but to consume: to change them is for operators. */
export const createPersistentCalls = ({ authoriser, storage }: Service, groups: Groups) => {
  const unary =
    <Request, Response>(
      allow: (caller: Caller) => void,
      perform: Perform<Request, Response>,
    ): Call<Request, Response> =>
    (call, callback) => {
      const answer = async () => {
        allow(await authoriser.identify(call.metadata));
        return perform(call.request);
      };
      answer().then(
        (response) => callback(null, response),
        (error: unknown) => callback(toPersistentError(error)),
      );
    };
  return {
    create: unary<CreateReq, CreateResp>(requireOperator, async (request) => {
      await groups.create(readGroupRequest(request.getOptions(), storage.lastPosition()));
      return new persistent.CreateResp();
    }),
    update: unary<UpdateReq, UpdateResp>(requireOperator, async (request) => {
      await groups.update(readGroupRequest(request.getOptions(), storage.lastPosition()));
      return new persistent.UpdateResp();
    }),
    delete: unary<DeleteReq, DeleteResp>(requireOperator, async (request) => {
      const options = request.getOptions();
      const id = readGroupId(options);
      await groups.delete(options?.hasAll() ? id : notAll(id));
      return new persistent.DeleteResp();
    }),
    getInfo: unary<GetInfoReq, GetInfoResp>(requireKnown, (request) => {
      const info = inspectGroup(groups.find(readGroupId(request.getOptions())));
      return new persistent.GetInfoResp().setSubscriptionInfo(toSubscriptionInfo(info));
    }),
    list: unary<ListReq, ListResp>(requireKnown, (request) => {
      const listed = groups.list(readListedSource(request.getOptions())).map(inspectGroup).map(toSubscriptionInfo);
      return new persistent.ListResp().setSubscriptionsList(listed);
    }),
    replayParked: unary<ReplayParkedReq, ReplayParkedResp>(requireOperator, (request) => {
      const id = readGroupId(request.getOptions());
      const stopAt = readStopAt(request.getOptions(), id);
      groups.find(id).replayParked(stopAt);
      return new persistent.ReplayParkedResp();
    }),
    restartSubsystem: unary<Empty, Empty>(requireOperator, async () => {
      await groups.restart();
      return new shared.Empty();
    }),
  };
};
