import { streamOf } from '#domain/streams.ts';
import { vmwareCredentialDecider } from '#domain/vmware-credential/vmware-credential.ts';
import type { SecretVault } from './credential-ports.ts';
import { load } from './handle.ts';
import type { Clock, EventStore } from './ports.ts';

const concept = 'vmwareCredential-';

/** Where the vault keeps a password; a changed password gets another reference. */
export const secretRefFor = (credentialId: number, unique: string): string => `${concept}${credentialId}-${unique}`;

const credentialIdOf = (reference: string): number => Number.parseInt(reference.slice(concept.length), 10);

/** A password this young may belong to a credential whose event is about to follow. */
const graceMs = 3_600_000;

type Deps = Readonly<{ store: EventStore; vault: SecretVault; clock: Clock }>;

/**
 * Destroys passwords that a hub left behind when it died between an event and the vault. Only what the log itself calls
 * replaced or deleted goes: a secret of which this log knows nothing may belong to another one. For start-up; repeatable.
 */
export const createForgetReplacedPasswords =
  ({ store, vault, clock }: Deps) =>
  async (): Promise<number> => {
    let forgotten = 0;
    for (const { reference, keptAt } of await vault.list(concept)) {
      if (Date.parse(clock.now()) - Date.parse(keptAt) < graceMs) continue;
      const stream = streamOf.vmwareCredential(credentialIdOf(reference));
      const { state } = await load(store, vmwareCredentialDecider, stream);
      const replaced = state.status === 'deleted' || (state.status === 'known' && state.secretRef !== reference);
      if (!replaced) continue;
      await vault.forget(reference);
      forgotten += 1;
    }
    return forgotten;
  };
