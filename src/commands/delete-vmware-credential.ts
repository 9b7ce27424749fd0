import { streamOf } from '#domain/streams.ts';
import { defaultCredentialDecider } from '#domain/vmware-credential/default-credential.ts';
import { vmwareCredentialDecider } from '#domain/vmware-credential/vmware-credential.ts';
import { releaseCredentialName } from './credential-claims.ts';
import { loadCredential } from './credential-login.ts';
import type { CredentialLookups, SecretVault } from './credential-ports.ts';
import { handle } from './handle.ts';
import type { Clock, CommandContext, EventStore } from './ports.ts';

type Deps = Readonly<{ store: EventStore; vault: SecretVault; lookups: CredentialLookups; clock: Clock }>;

/**
 * Deletes a login that no VM uses, and destroys its password. Throws `credential-not-found`, `credential-in-use`,
 * `credential-last-active`.
 */
export const createDeleteVmwareCredential =
  ({ store, vault, lookups, clock }: Deps) =>
  async (
    credentialId: number,
    context: CommandContext,
  ): Promise<Readonly<{ name: string; position: bigint | undefined }>> => {
    const { name, secretRef } = await loadCredential(store, credentialId);
    const [vmsUsingIt, otherActiveCredentials] = await Promise.all([
      lookups.vmsUsing(credentialId),
      lookups.otherActive(credentialId),
    ]);
    const at = clock.now();
    const deleted = await handle(
      store,
      { decider: vmwareCredentialDecider, stream: streamOf.vmwareCredential(credentialId) },
      { type: 'DeleteCredential', data: { credentialId, vmsUsingIt, otherActiveCredentials, at } },
      context,
    );
    await vault.forget(secretRef);
    const cleared = await handle(
      store,
      { decider: defaultCredentialDecider, stream: streamOf.defaultCredential() },
      { type: 'ClearDefault', data: { credentialId, at } },
      context,
    );
    await releaseCredentialName({ store, clock }, { name, credentialId }, context);
    return { name, position: cleared.position ?? deleted.position };
  };
