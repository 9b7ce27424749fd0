import { claimDecider } from '#domain/claim/claim.ts';
import { DomainError } from '#domain/errors.ts';
import { streamOf } from '#domain/streams.ts';
import { vmwareCredentialDecider } from '#domain/vmware-credential/vmware-credential.ts';
import { claimName, isFresh, releaseName } from './claim-name.ts';
import { load } from './handle.ts';
import type { Clock, CommandContext, EventStore } from './ports.ts';

type Deps = Readonly<{ store: EventStore; clock: Clock }>;

const stateOf = async ({ store }: Deps, credentialId: number) =>
  (await load(store, vmwareCredentialDecider, streamOf.vmwareCredential(credentialId))).state;

const isTaken = (error: unknown): boolean => error instanceof DomainError && error.code === 'name-taken';

/** The next number that no credential ever had, for the one that this command creates. */
export const claimNumber = async (deps: Deps, after: number, context: CommandContext): Promise<number> => {
  for (let number = after + 1; ; number += 1) {
    try {
      await claimName(
        deps,
        {
          ...{ kind: 'credentialId', name: String(number), holder: context.commandId },
          holderLives: async (_holder, since) =>
            isFresh(since, deps.clock.now()) || (await stateOf(deps, number)).status !== 'none',
        },
        context,
      );
      return number;
    } catch (error) {
      if (!isTaken(error)) throw error;
    }
  }
};

/** Content when the number was never claimed by this command. */
export const releaseNumber = (deps: Deps, number: number, context: CommandContext): Promise<void> =>
  releaseName(deps, { kind: 'credentialId', name: String(number), holder: context.commandId }, context);

/** The number that this very command (repeated by its Idempotency-Key) got for a credential of that name before. */
export const earlierNumber = async (
  { store }: Deps,
  name: string,
  context: CommandContext,
): Promise<number | undefined> => {
  const byName = await load(store, claimDecider, streamOf.claim('credentialName', name));
  const number = byName.state.holder;
  if (number === null) return undefined;
  const byNumber = await load(store, claimDecider, streamOf.claim('credentialId', number));
  return byNumber.state.holder === context.commandId ? Number(number) : undefined;
};

/** Throws `name-taken`. */
export const claimCredentialName = (
  deps: Deps,
  { name, credentialId }: Readonly<{ name: string; credentialId: number }>,
  context: CommandContext,
): Promise<void> =>
  claimName(
    deps,
    {
      ...{ kind: 'credentialName', name, holder: String(credentialId) },
      holderLives: async (holder, since) => {
        if (isFresh(since, deps.clock.now())) return true;
        const state = await stateOf(deps, Number(holder));
        return state.status === 'known' && state.name === name;
      },
    },
    context,
  );

export const releaseCredentialName = (
  deps: Deps,
  { name, credentialId }: Readonly<{ name: string; credentialId: number }>,
  context: CommandContext,
): Promise<void> => releaseName(deps, { kind: 'credentialName', name, holder: String(credentialId) }, context);
