import { idempotencyKeyDecider } from '#domain/idempotency-key/idempotency-key.ts';
import { streamOf } from '#domain/streams.ts';
import { handle } from './handle.ts';
import type { Clock, CommandContext, EventStore } from './ports.ts';

export type IdempotentRequest = Readonly<{ operation: string; requestSha256: string }>;

/**
 * The id of what a request creates. With an Idempotency-Key (`request` given) the first request's id is returned to every
 * repeat, so that the commands which follow find their facts in place and do nothing twice; without one it is `proposed`.
 * Throws `idempotency-key-reused` when the key came with another request before.
 */
export const idempotentSubject = async (
  deps: Readonly<{ store: EventStore; clock: Clock }>,
  proposed: string,
  request: IdempotentRequest | undefined,
  context: CommandContext,
): Promise<string> => {
  if (!request) return proposed;
  const stream = streamOf.idempotencyKey(context.commandId);
  const target = { decider: idempotencyKeyDecider, stream };
  const data = { ...request, subject: proposed, at: deps.clock.now() };
  const { state } = await handle(deps.store, target, { type: 'UseIdempotencyKey', data }, context);
  return state.subject ?? proposed;
};
