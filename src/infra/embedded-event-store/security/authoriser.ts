import type { Metadata } from '@grpc/grpc-js';
import { accessDenied } from '../grpc/rpc-error.ts';
import type { StreamAction } from './access-list.ts';

/** Who calls, and what they may do. Answers from the state of the moment: an access list may change during a call. */
export interface Caller {
  /** Signed in, as anybody. */
  readonly isKnown: boolean;
  /** In one of the groups `$admins` and `$ops`: may look after the server, which opens no stream to them. */
  readonly isOperator: boolean;
  /** A metastream `$$x` is asked for as itself; the answer is that for the metadata of x. */
  may(action: StreamAction, streamName: string): boolean;
}

export interface Authoriser {
  /** By the header `authorization`; without one the caller is anonymous. Throws `RpcError` for wrong credentials. */
  identify(metadata: Metadata): Promise<Caller>;
}

/** Throws `RpcError` (access denied). */
export const requireAccess = (caller: Caller, action: StreamAction, streamName: string): void => {
  if (!caller.may(action, streamName)) throw accessDenied();
};

/** For what concerns the server or many streams at once. Throws `RpcError` (access denied). */
export const requireOperator = (caller: Caller): void => {
  if (!caller.isOperator) throw accessDenied();
};

const unrestricted: Caller = { isKnown: true, isOperator: true, may: () => true };

/** Of a server without users: whoever reaches it may do everything. */
export const passThrough: Authoriser = { identify: async () => unrestricted };
