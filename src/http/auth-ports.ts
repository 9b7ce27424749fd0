import type { CommandContext } from '#commands/ports.ts';

/** Who a session belongs to, as it is written into events: `user:admin`, `node:<appliance id>`. */
export type Session = Readonly<{
  subject: string;
  /** ISO 8601 UTC. */
  expiresAt: string;
}>;

/** Sessions outlive the hub process. The token itself is never stored, only its SHA-256 in hex. Every call may be repeated. */
export interface SessionStore {
  /** Returns once `find` sees it. */
  open(session: Session & Readonly<{ tokenSha256: string }>, request: CommandContext): Promise<void>;
  /** Open sessions only; expired ones may still be found, the caller looks at the time. */
  find(tokenSha256: string): Promise<Session | undefined>;
  /** Content with nothing. */
  close(tokenSha256: string, request: CommandContext): Promise<void>;
}

/** The administrator's password, kept as an argon2id hash in PHC form. */
export interface PasswordStore {
  adminHash(): Promise<string | undefined>;
  /** Keeps it only when there is none yet, and tells whether it did: two hubs may start at once. */
  addAdminHash(hash: string): Promise<boolean>;
  replaceAdminHash(hash: string): Promise<void>;
}

/** Each node appliance's own login token, known by its SHA-256 in hex. */
export interface ApplianceTokens {
  sha256Of(applianceId: string): Promise<string | undefined>;
}

/** One attempt to log in, for the audit trail. */
export type LoginAttempt = Readonly<{
  outcome: 'succeeded' | 'failed';
  /** `unknown` when the name given is none of ours: people type passwords into the wrong field. */
  subject: string;
  address: string;
  requestId: string;
}>;
