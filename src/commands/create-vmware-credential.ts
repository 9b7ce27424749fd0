import { DomainError } from '#domain/errors.ts';
import { streamOf } from '#domain/streams.ts';
import { type CredentialDetails, vmwareCredentialDecider } from '#domain/vmware-credential/vmware-credential.ts';
import { createChooseDefaultCredential } from './choose-default-credential.ts';
import { claimCredentialName, claimNumber, earlierNumber, releaseNumber } from './credential-claims.ts';
import type { CredentialLookups, SecretVault } from './credential-ports.ts';
import { secretRefFor } from './credential-secrets.ts';
import { handle } from './handle.ts';
import { type IdempotentRequest, idempotentSubject } from './idempotent-subject.ts';
import type { Clock, CommandContext, EventStore, Ids } from './ports.ts';

export type NewCredential = CredentialDetails & Readonly<{ password: string; isActive: boolean; isDefault: boolean }>;

type Deps = Readonly<{
  store: EventStore;
  vault: SecretVault;
  lookups: Pick<CredentialLookups, 'highestId'>;
  clock: Clock;
  ids: Ids;
}>;

/** The default must be usable. */
export const refuseInactiveDefault = (name: string): never => {
  throw new DomainError(
    'credential-inactive',
    `credential "${name}" is switched off and cannot be the default; activate it, or choose another default`,
  );
};

/** The number, and the name that goes with it: both or none. */
const claimBoth = async (deps: Deps, name: string, context: CommandContext): Promise<number> => {
  const credentialId = await claimNumber(deps, await deps.lookups.highestId(), context);
  try {
    await claimCredentialName(deps, { name, credentialId }, context);
    return credentialId;
  } catch (error) {
    await releaseNumber(deps, credentialId, context);
    throw error;
  }
};

/** Password first: a credential whose password was lost would be of no use, a password without credential harms nobody. */
const record = async (deps: Deps, credentialId: number, input: NewCredential, context: CommandContext) => {
  const { store, vault, clock, ids } = deps;
  const at = clock.now();
  const { name, vcenterHost, username, datacenter, isActive, password } = input;
  const secretRef = secretRefFor(credentialId, ids.uuid());
  await vault.keep(secretRef, password);
  const created = await handle(
    store,
    { decider: vmwareCredentialDecider, stream: streamOf.vmwareCredential(credentialId) },
    {
      type: 'CreateCredential',
      data: {
        ...{ credentialId, name, vcenterHost, username, datacenter, isActive, secretRef },
        ...{ createdBy: context.actor, at },
      },
    },
    context,
  );
  if (created.events.length === 0) await vault.forget(secretRef);
  return { createdAt: at, position: created.position };
};

/**
 * Saves a vCenter login under the next number. Throws `name-taken`, `secret-key-missing`, `credential-inactive` (a default
 * that is switched off).
 */
export const createCreateVmwareCredential =
  (deps: Deps) =>
  async (
    input: NewCredential,
    context: CommandContext,
    request: IdempotentRequest | undefined,
  ): Promise<Readonly<{ credentialId: number; createdAt: string; position: bigint | undefined }>> => {
    if (input.isDefault && !input.isActive) refuseInactiveDefault(input.name);
    deps.vault.assertReady();
    await idempotentSubject(deps, context.commandId, request, context);
    const earlier = request && (await earlierNumber(deps, input.name, context));
    const credentialId = earlier ?? (await claimBoth(deps, input.name, context));
    const created = await record(deps, credentialId, input, context);
    if (!input.isDefault) return { credentialId, ...created };
    const chosen = await createChooseDefaultCredential(deps)(credentialId, context);
    return { credentialId, ...created, position: chosen.position ?? created.position };
  };
