import { randomUUID } from 'node:crypto';
import type { CredentialLogins } from '#commands/credential-login.ts';
import { DomainError } from '#domain/errors.ts';
import { type CredentialVault, PermanentFailure } from '#process-managers/ports.ts';

/**
 * Logins for backups; each counts as a use. A password that cannot be had is final for the job that needs it; an unknown
 * credential stays the `credential-not-found` that it is.
 */
export const createCredentialVault = ({
  loginOf,
  noteUse,
}: Pick<CredentialLogins, 'loginOf' | 'noteUse'>): CredentialVault => ({
  loginOf: async (credentialId) => {
    try {
      const { vcenterHost, username, password } = await loginOf(credentialId);
      const commandId = randomUUID();
      await noteUse(credentialId, 'backup', { actor: 'process:backup-runner', correlationId: commandId, commandId });
      return { vcenterHost, username, password };
    } catch (error) {
      if (!(error instanceof DomainError) || error.code === 'credential-not-found') throw error;
      throw new PermanentFailure(error.message, { cause: error });
    }
  },
});
