import type { CredentialLogins } from '#commands/credential-login.ts';
import { DomainError } from '#domain/errors.ts';
import { type CredentialVault, PermanentFailure } from '#process-managers/ports.ts';

/**
 * Logins for process managers: a password that cannot be had is final for the job that needs it. An unknown credential
 * stays the `credential-not-found` that it is.
 */
export const createCredentialVault = ({ loginOf }: Pick<CredentialLogins, 'loginOf'>): CredentialVault => ({
  loginOf: async (credentialId) => {
    try {
      const { vcenterHost, username, password } = await loginOf(credentialId);
      return { vcenterHost, username, password };
    } catch (error) {
      if (!(error instanceof DomainError) || error.code === 'credential-not-found') throw error;
      throw new PermanentFailure(error.message, { cause: error });
    }
  },
});
