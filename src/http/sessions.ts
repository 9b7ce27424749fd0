import { createHash, randomBytes } from 'node:crypto';
import type { Clock, CommandContext } from '#commands/ports.ts';
import type { Session, SessionStore } from './auth-ports.ts';

export interface Sessions {
  /** A new token for a subject who has proved to be it. */
  open(subject: string, request: CommandContext): Promise<Readonly<{ token: string; expiresAt: string }>>;
  subjectOf(token: string): Promise<string | undefined>;
  close(token: string, request: CommandContext): Promise<void>;
}

export type SessionsDeps = Readonly<{
  store: SessionStore;
  clock: Clock;
  /** How long a login lasts. */
  ttlSeconds: number;
}>;

// A node polls every few seconds; a hub elsewhere that closed the session is noticed after this time at the latest.
const cacheMs = 30_000;
const cacheSize = 1_000;

const tokenPattern = /^sess_[A-Za-z0-9_-]{43}$/;

/** The token goes to the client alone; everything else, this cache included, knows it by its hash. */
export const tokenSha256 = (token: string): string => createHash('sha256').update(token).digest('hex');

export const createSessions = ({ store, clock, ttlSeconds }: SessionsDeps): Sessions => {
  /** Insertion order is age: the first entry is the oldest. */
  const cache = new Map<string, Readonly<{ session: Session; untilMs: number }>>();
  const nowMs = (): number => Date.parse(clock.now());

  const remember = (hash: string, session: Session): void => {
    cache.delete(hash);
    cache.set(hash, { session, untilMs: nowMs() + cacheMs });
    const [oldest] = cache.keys();
    if (cache.size > cacheSize && oldest !== undefined) cache.delete(oldest);
  };

  const find = async (hash: string): Promise<Session | undefined> => {
    const cached = cache.get(hash);
    if (cached && cached.untilMs > nowMs()) return cached.session;
    cache.delete(hash);
    const session = await store.find(hash);
    if (session) remember(hash, session);
    return session;
  };

  return {
    open: async (subject, request) => {
      const token = `sess_${randomBytes(32).toString('base64url')}`;
      const session = { subject, expiresAt: new Date(nowMs() + ttlSeconds * 1_000).toISOString() };
      await store.open({ ...session, tokenSha256: tokenSha256(token) }, request);
      remember(tokenSha256(token), session);
      return { token, expiresAt: session.expiresAt };
    },
    subjectOf: async (token) => {
      // Anything else cannot be ours, and need not cost a query.
      if (!tokenPattern.test(token)) return undefined;
      const session = await find(tokenSha256(token));
      return session && Date.parse(session.expiresAt) > nowMs() ? session.subject : undefined;
    },
    close: async (token, request) => {
      await store.close(tokenSha256(token), request);
      cache.delete(tokenSha256(token));
    },
  };
};
