import { status } from '@grpc/grpc-js';
import { type GroupRefusal, GroupRefused } from '../persistent-subscriptions/group-refused.ts';
import { RpcError, toRpcError } from './rpc-error.ts';

const refusals: Readonly<
  Record<GroupRefusal, Readonly<{ code: status; exception: string; sentence: (group: string) => string }>>
> = {
  missing: {
    code: status.NOT_FOUND,
    exception: 'persistent-subscription-does-not-exist',
    sentence: (group) => `Subscription group ${group} does not exist.`,
  },
  exists: {
    code: status.ALREADY_EXISTS,
    exception: 'persistent-subscription-exists',
    sentence: (group) => `Subscription group ${group} exists.`,
  },
  full: {
    code: status.FAILED_PRECONDITION,
    exception: 'maximum-subscribers-reached',
    sentence: (group) => `Maximum subscriptions reached for subscription group ${group}.`,
  },
  dropped: {
    code: status.CANCELLED,
    exception: 'persistent-subscription-dropped',
    sentence: (group) => `Subscription group ${group} was dropped.`,
  },
  failed: {
    code: status.INTERNAL,
    exception: 'persistent-subscription-failed',
    sentence: (group) => `Subscription group ${group} failed`,
  },
};

/** Like `toRpcError`, for calls about groups. */
export const toPersistentError = (error: unknown): RpcError => {
  if (!(error instanceof GroupRefused)) return toRpcError(error);
  const { eventSource, groupName } = error.id;
  const { code, exception, sentence } = refusals[error.kind];
  const details = sentence(`${groupName} on stream ${eventSource}`);
  return new RpcError(code, error.reason === '' ? details : `${details}: '${error.reason}'`, {
    exception,
    'stream-name': eventSource,
    'group-name': groupName,
    ...(error.reason !== '' && { reason: error.reason }),
  });
};
