import type { SessionEvent } from './events.ts';

export type SessionState =
  | Readonly<{ status: 'none' }>
  | Readonly<{ status: 'open'; subject: string; expiresAt: string }>
  | Readonly<{ status: 'closed' }>;

export const initialState: SessionState = { status: 'none' };

export const evolve = (_state: SessionState, event: SessionEvent): SessionState => {
  switch (event.type) {
    case 'SessionOpened':
      return { status: 'open', subject: event.data.subject, expiresAt: event.data.expiresAt };
    case 'SessionClosed':
      return { status: 'closed' };
  }
};
