import { DomainError } from '#domain/errors.ts';
import { streamOf } from '#domain/streams.ts';
import {
  type CredentialDetails,
  type KnownCredential,
  vmwareCredentialDecider,
} from '#domain/vmware-credential/vmware-credential.ts';
import { createChooseDefaultCredential } from './choose-default-credential.ts';
import { refuseInactiveDefault } from './create-vmware-credential.ts';
import { claimCredentialName, releaseCredentialName } from './credential-claims.ts';
import { loadCredential } from './credential-login.ts';
import type { SecretVault } from './credential-ports.ts';
import { secretRefFor } from './credential-secrets.ts';
import { handle } from './handle.ts';
import type { Clock, CommandContext, EventStore, Ids } from './ports.ts';

/** What is left out stays as it is; a default is only ever unset by choosing another one. */
export type CredentialChanges = Partial<CredentialDetails> &
  Readonly<{ password?: string; isActive?: boolean; makeDefault: boolean }>;

type Deps = Readonly<{ store: EventStore; vault: SecretVault; clock: Clock; ids: Ids }>;

type Step = Readonly<{ before: KnownCredential; changes: CredentialChanges; context: CommandContext }>;

const append = async ({ store, clock }: Deps, { before, changes, context }: Step, secretRef: string | undefined) => {
  const { password: _, makeDefault: __, ...facts } = changes;
  const { credentialId } = before;
  return handle(
    store,
    { decider: vmwareCredentialDecider, stream: streamOf.vmwareCredential(credentialId) },
    {
      type: 'ChangeCredential',
      data: { credentialId, ...facts, ...(secretRef === undefined ? {} : { secretRef }), at: clock.now() },
    },
    context,
  );
};

/** The new password is kept before the event names it, the old one destroyed after: no moment without a valid one. */
const withPassword = async (deps: Deps, step: Step) => {
  const { before, changes } = step;
  if (changes.password === undefined) return append(deps, step, undefined);
  const secretRef = secretRefFor(before.credentialId, deps.ids.uuid());
  await deps.vault.keep(secretRef, changes.password);
  try {
    const changed = await append(deps, step, secretRef);
    await deps.vault.forget(before.secretRef);
    return changed;
  } catch (error) {
    // Refused for certain; after any other error the event may be in the log, and needs its password.
    if (error instanceof DomainError) await deps.vault.forget(secretRef);
    throw error;
  }
};

/** The new name is claimed before the event and the old one freed after: at no moment may others take either. */
const withName = async (deps: Deps, step: Step) => {
  const { before, changes, context } = step;
  const { credentialId } = before;
  const name = changes.name ?? before.name;
  if (name === before.name) return withPassword(deps, step);
  await claimCredentialName(deps, { name, credentialId }, context);
  try {
    const changed = await withPassword(deps, step);
    await releaseCredentialName(deps, { name: before.name, credentialId }, context);
    return changed;
  } catch (error) {
    if (error instanceof DomainError) await releaseCredentialName(deps, { name, credentialId }, context);
    throw error;
  }
};

/** Throws `credential-not-found`, `name-taken`, `secret-key-missing`, `credential-inactive`. */
export const createChangeVmwareCredential =
  (deps: Deps) =>
  async (
    credentialId: number,
    changes: CredentialChanges,
    context: CommandContext,
  ): Promise<Readonly<{ name: string; position: bigint | undefined }>> => {
    const before = await loadCredential(deps.store, credentialId);
    const name = changes.name ?? before.name;
    if (changes.makeDefault && !(changes.isActive ?? before.isActive)) refuseInactiveDefault(name);
    if (changes.password !== undefined) deps.vault.assertReady();
    const { position } = await withName(deps, { before, changes, context });
    if (!changes.makeDefault) return { name, position };
    const chosen = await createChooseDefaultCredential(deps)(credentialId, context);
    return { name, position: chosen.position ?? position };
  };
