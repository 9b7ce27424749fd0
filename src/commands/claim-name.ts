import { claimDecider } from '#domain/claim/claim.ts';
import { type ClaimKind, streamOf } from '#domain/streams.ts';
import { handle, load } from './handle.ts';
import type { Clock, CommandContext, EventStore } from './ports.ts';

export type NameClaim = Readonly<{
  kind: ClaimKind;
  name: string;
  /** Id of what carries the name. */
  holder: string;
  /** Whether a holder found in the claim still has a right to it (it exists, or may just be coming into being). */
  holderLives: (holder: string, since: string) => Promise<boolean>;
}>;

type Deps = Readonly<{ store: EventStore; clock: Clock }>;

/** A name whose holder's first event did not follow within this time was claimed by a hub that died. */
const comingIntoBeingMs = 30_000;

/** For `holderLives`: a claim this young may belong to something that is just being created. */
export const isFresh = (since: string, now: string): boolean => Date.parse(now) - Date.parse(since) < comingIntoBeingMs;

/** Makes a name its holder's; repeatable. Throws `name-taken`. */
export const claimName = async ({ store, clock }: Deps, claim: NameClaim, context: CommandContext): Promise<void> => {
  const { kind, name, holder, holderLives } = claim;
  const stream = streamOf.claim(kind, name);
  const { state } = await load(store, claimDecider, stream);
  const abandoned =
    state.holder !== null && state.since !== null && !(await holderLives(state.holder, state.since))
      ? { abandonedHolder: state.holder }
      : {};
  await handle(
    store,
    { decider: claimDecider, stream },
    { type: 'ClaimName', data: { key: name, holder, ...abandoned, at: clock.now() } },
    context,
  );
};

/** Frees a name for others; content when it is not its holder's. */
export const releaseName = async (
  { store, clock }: Deps,
  { kind, name, holder }: Omit<NameClaim, 'holderLives'>,
  context: CommandContext,
): Promise<void> => {
  await handle(
    store,
    { decider: claimDecider, stream: streamOf.claim(kind, name) },
    { type: 'ReleaseName', data: { key: name, holder, at: clock.now() } },
    context,
  );
};
