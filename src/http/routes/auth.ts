import { createHash, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import { bearerToken } from '../auth.ts';
import type { ApplianceTokens, LoginAttempt, PasswordStore } from '../auth-ports.ts';
import { verifyNothing, verifyPassword } from '../password.ts';
import { limitFailedLogins } from '../rate-limit.ts';
import { answer, type Endpoint, resource } from '../route.ts';
import type { Sessions } from '../sessions.ts';

export type AuthRoutesDeps = Readonly<{
  sessions: Sessions;
  passwords: PasswordStore;
  appliances: ApplianceTokens;
  /** Keeps the attempt for the audit trail; it logs its own failures, a login does not wait for it. */
  audit: (attempt: LoginAttempt) => void;
  failedLoginsPerMinute?: number;
}>;

const ApplianceLogin = z.object({
  appliance_id: z.string().min(1).max(255),
  token: z.string().min(1).max(1_024),
  version: z.string().min(1).max(255),
});
// The bound keeps hashing cheap; it is far beyond any password.
const UserLogin = z.object({ username: z.string().min(1).max(255), password: z.string().min(1).max(1_024) });

const LoggedIn = z.object({
  success: z.literal(true),
  session_token: z.string(),
  expires_at: z.iso.datetime(),
});

const Refused = z.object({
  success: z.literal(false),
  session_token: z.literal(''),
  expires_at: z.literal('0001-01-01T00:00:00Z'),
  error_message: z.string(),
});

/** One text for every reason: what was wrong is nobody's business. */
const refused = {
  success: false,
  session_token: '',
  expires_at: '0001-01-01T00:00:00Z',
  error_message: 'Invalid credentials',
} as const;

type Claim = Readonly<{ subject: string; known: boolean; proved: boolean }>;

export const authEndpoints = (deps: AuthRoutesDeps): readonly Endpoint[] => {
  const { sessions, passwords, appliances, audit } = deps;
  const { endpoint } = resource({ tag: 'Authentication', group: 'E1' });

  const provePerson = async ({ username, password }: z.output<typeof UserLogin>): Promise<Claim> => {
    const known = username === 'admin';
    const hash = known ? await passwords.adminHash() : undefined;
    const proved = await (hash === undefined ? verifyNothing(password) : verifyPassword(password, hash));
    return { subject: `user:${username}`, known, proved };
  };

  const proveAppliance = async ({ appliance_id, token }: z.output<typeof ApplianceLogin>): Promise<Claim> => {
    const expected = await appliances.sha256Of(appliance_id);
    const known = expected !== undefined;
    const proved = timingSafeEqual(sha256(token), known ? Buffer.from(expected, 'hex') : Buffer.alloc(32));
    return { subject: `node:${appliance_id}`, known, proved: known && proved };
  };

  return [
    endpoint('POST /auth/login', {
      summary: 'Exchanges an appliance token, or a name and password, for a session token',
      auth: 'public',
      body: z.union([UserLogin, ApplianceLogin]),
      reply: LoggedIn,
      otherReplies: { 401: Refused },
      invalidRequestText: 'Invalid request payload',
      maxBodyBytes: 16 * 1024,
      audit: { action: 'Login', object: 'session' },
      guards: [limitFailedLogins(deps.failedLoginsPerMinute ?? 10)],
      handle: async ({ body, address, requestId, audited, context }) => {
        const { subject, known, proved } = await ('username' in body ? provePerson(body) : proveAppliance(body));
        const outcome = proved ? 'succeeded' : 'failed';
        audit({ outcome, subject: known ? subject : 'unknown', address, requestId });
        // The name that was typed is kept only when it is one of ours: people type passwords into the wrong field.
        if (known) audited({ actor: subject });
        if (!proved) {
          audited({ code: 'unauthorized', reason: refused.error_message });
          return answer(401, refused);
        }
        const { token, expiresAt } = await sessions.open(subject, context());
        return { success: true, session_token: token, expires_at: expiresAt };
      },
    }),
    endpoint('POST /auth/logout', {
      summary: 'Ends the session whose token is sent',
      audit: { action: 'Logout', object: 'session' },
      reply: z.object({ success: z.literal(true), message: z.string() }),
      handle: async ({ header, context }) => {
        const authorization = header('authorization');
        if (authorization !== undefined) await sessions.close(bearerToken(authorization), context());
        return { success: true, message: 'Logged out' };
      },
    }),
  ];
};

const sha256 = (token: string): Buffer => createHash('sha256').update(token).digest();
