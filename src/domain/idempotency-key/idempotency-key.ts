import type { Decider } from '../decider.ts';
import { DomainError } from '../errors.ts';
import type { Versions } from '../event-versions.ts';

/** A client's key stands for one request: what it made the first time is what every repeat is answered with. */
export type IdempotencyKeyEvent = Readonly<{
  type: 'IdempotencyKeyUsed';
  data: Readonly<{ operation: string; requestSha256: string; subject: string; at: string }>;
}>;

export type IdempotencyKeyState = Readonly<{ subject: string | null; requestSha256: string | null }>;

export type UseIdempotencyKey = Readonly<{
  type: 'UseIdempotencyKey';
  data: Readonly<{ operation: string; requestSha256: string; subject: string; at: string }>;
}>;

const decide = ({ data }: UseIdempotencyKey, state: IdempotencyKeyState): readonly IdempotencyKeyEvent[] => {
  if (state.subject === null) return [{ type: 'IdempotencyKeyUsed', data }];
  if (state.requestSha256 === data.requestSha256) return [];
  throw new DomainError(
    'idempotency-key-reused',
    'this Idempotency-Key was used for another request; send a new key with a new request',
  );
};

const evolve = (_state: IdempotencyKeyState, { data }: IdempotencyKeyEvent): IdempotencyKeyState => ({
  subject: data.subject,
  requestSha256: data.requestSha256,
});

export const idempotencyKeyDecider: Decider<IdempotencyKeyState, UseIdempotencyKey, IdempotencyKeyEvent> = {
  initialState: { subject: null, requestSha256: null },
  decide,
  evolve,
};

export const idempotencyKeyEventVersions: Versions<IdempotencyKeyEvent> = {
  IdempotencyKeyUsed: 1,
};
