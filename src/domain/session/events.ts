import type { Versions } from '../event-versions.ts';

/** A login that lasts: its stream is named by the hash of its token, so the token itself is nowhere. */
export type SessionEvent =
  | Readonly<{
      type: 'SessionOpened';
      /** `subject` is the actor that its requests are recorded with: `user:admin`, `node:<appliance id>`. */
      data: Readonly<{ subject: string; expiresAt: string; at: string }>;
    }>
  | Readonly<{ type: 'SessionClosed'; data: Readonly<{ at: string }> }>;

export const sessionVersions: Versions<SessionEvent> = { SessionOpened: 1, SessionClosed: 1 };
