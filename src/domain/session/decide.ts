import type { Decider } from '../decider.ts';
import { DomainError } from '../errors.ts';
import type { SessionEvent } from './events.ts';
import { evolve, initialState, type SessionState } from './state.ts';

export type OpenSession = Readonly<{
  type: 'OpenSession';
  data: Readonly<{ subject: string; expiresAt: string; at: string }>;
}>;

/** Logging out, or an operator who ends somebody's login. */
export type CloseSession = Readonly<{ type: 'CloseSession'; data: Readonly<{ at: string }> }>;

export type SessionCommand = OpenSession | CloseSession;

const open = ({ data }: OpenSession, state: SessionState): readonly SessionEvent[] => {
  // Both are ISO 8601 in UTC, which sort as texts.
  if (data.expiresAt <= data.at)
    throw new DomainError('invalid-request', 'A session must end after it begins', { expiresAt: data.expiresAt });
  if (state.status === 'none') return [{ type: 'SessionOpened', data }];
  // The store's answer was lost and the caller asks again.
  if (state.status === 'open' && state.subject === data.subject && state.expiresAt === data.expiresAt) return [];
  // A token belongs to one login and never lives twice.
  throw new DomainError('invalid-request', 'This token was used by another session; log in again');
};

const close = ({ data }: CloseSession, state: SessionState): readonly SessionEvent[] =>
  state.status === 'open' ? [{ type: 'SessionClosed', data }] : [];

const decide = (command: SessionCommand, state: SessionState): readonly SessionEvent[] => {
  switch (command.type) {
    case 'OpenSession':
      return open(command, state);
    case 'CloseSession':
      return close(command, state);
  }
};

export const sessionDecider: Decider<SessionState, SessionCommand, SessionEvent> = { initialState, decide, evolve };
