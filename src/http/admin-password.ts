import { randomBytes } from 'node:crypto';
import type { PasswordStore } from './auth-ports.ts';
import { hashPassword, verifyPassword } from './password.ts';

export type EnsureAdminPassword = Readonly<{
  /** From the settings; replaces what was kept. */
  configured?: string;
  store: PasswordStore;
  /** Shows a generated password to the person who starts the hub: once, and not in the log. */
  announce: (password: string) => void;
}>;

/** After it, there is an administrator's password: the configured one, the one of an earlier start, or a new one. */
export const ensureAdminPassword = async ({ configured, store, announce }: EnsureAdminPassword): Promise<void> => {
  const kept = await store.adminHash();
  if (configured !== undefined) {
    if (kept !== undefined && (await verifyPassword(configured, kept))) return;
    await store.replaceAdminHash(await hashPassword(configured));
    return;
  }
  if (kept !== undefined) return;
  const generated = randomBytes(18).toString('base64url');
  if (await store.addAdminHash(await hashPassword(generated))) announce(generated);
};
