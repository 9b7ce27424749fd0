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
  loginOf: async (credentialId, cause) => {
    try {
      const { vcenterHost, username, password } = await loginOf(credentialId);
      const commandId = randomUUID();
      const context = { correlationId: commandId, ...cause, actor: 'process:backup-runner', commandId };
      await noteUse(credentialId, 'backup', context);
      return { vcenterHost, username, password };
    } catch (error) {
      if (!(error instanceof DomainError) || error.code === 'credential-not-found') throw error;
      throw new PermanentFailure(error.message, { cause: error });
    }
  },
});
