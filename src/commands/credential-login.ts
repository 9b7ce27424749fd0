import { DomainError } from '#domain/errors.ts';
import { streamOf } from '#domain/streams.ts';
import {
  type CredentialPurpose,
  credentialUsageDecider,
  keptUsageEvents,
} from '#domain/vmware-credential/credential-usage.ts';
import {
  type KnownCredential,
  noSuchCredential,
  vmwareCredentialDecider,
} from '#domain/vmware-credential/vmware-credential.ts';
import type { SecretVault } from './credential-ports.ts';
import { handle, load } from './handle.ts';
import type { VcenterLogin } from './inventory-ports.ts';
import type { Clock, CommandContext, EventStore } from './ports.ts';

/** Throws `credential-not-found`, also for a deleted one. */
export const loadCredential = async (store: EventStore, credentialId: number): Promise<KnownCredential> => {
  const { state } = await load(store, vmwareCredentialDecider, streamOf.vmwareCredential(credentialId));
  if (state.status === 'known') return state;
  throw noSuchCredential(credentialId);
};

/** Throws `credential-inactive`. */
export const assertActive = ({ name, isActive }: Pick<KnownCredential, 'name' | 'isActive'>): void => {
  if (isActive) return;
  throw new DomainError('credential-inactive', `credential "${name}" is switched off; activate it first`);
};

type Deps = Readonly<{ store: EventStore; vault: SecretVault; clock: Clock }>;

export type CredentialLogins = Readonly<{
  /**
   * What an operation logs in with. Throws `credential-not-found`, `credential-inactive`, `credential-unusable` (the
   * password is gone or cannot be read) and `secret-key-missing`.
   */
  loginOf: (credentialId: number) => Promise<VcenterLogin>;
  /** The same, of one that is switched off as well: to try it before it is switched on. */
  storedLoginOf: (credentialId: number) => Promise<VcenterLogin>;
  /** Counts a use. Its events are of a bounded stream: usage grows with every backup, the credential's history does not. */
  noteUse: (credentialId: number, purpose: CredentialPurpose, context: CommandContext) => Promise<bigint | undefined>;
}>;

export const createCredentialLogins = ({ store, vault, clock }: Deps): CredentialLogins => {
  const reveal = async ({ vcenterHost, username, datacenter, secretRef }: KnownCredential): Promise<VcenterLogin> => ({
    ...{ vcenterHost, username, datacenter },
    password: await vault.reveal(secretRef),
  });

  const countUse: CredentialLogins['noteUse'] = async (credentialId, purpose, context) => {
    const stream = streamOf.credentialUsage(credentialId);
    const { state, position } = await handle(
      store,
      { decider: credentialUsageDecider, stream },
      { type: 'NoteUse', data: { credentialId, purpose, at: clock.now() } },
      context,
    );
    // Not only the first time: a hub may have died in between.
    if (state.usageCount % keptUsageEvents === 1) await store.bound(stream, { maxCount: keptUsageEvents });
    return position;
  };

  // One after the other: many jobs that start at once use one credential, and would lose too many races for its stream.
  let turn: Promise<unknown> = Promise.resolve();
  const noteUse: CredentialLogins['noteUse'] = (...use) => {
    const counted = turn.then(() => countUse(...use));
    turn = counted.catch(() => undefined);
    return counted;
  };

  return {
    loginOf: async (credentialId) => {
      const credential = await loadCredential(store, credentialId);
      assertActive(credential);
      return reveal(credential);
    },
    storedLoginOf: async (credentialId) => reveal(await loadCredential(store, credentialId)),
    noteUse,
  };
};
