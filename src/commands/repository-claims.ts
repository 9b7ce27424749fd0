import { claimDecider } from '#domain/claim/claim.ts';
import { DomainError } from '#domain/errors.ts';
import { repositoryDecider } from '#domain/repository/repository.ts';
import { pathTaken, type RepositoryRoot, repositoryRootsDecider, rootsOverlapping } from '#domain/repository/roots.ts';
import { streamOf } from '#domain/streams.ts';
import { claimName, isFresh, releaseName } from './claim-name.ts';
import { handle, load } from './handle.ts';
import type { Clock, CommandContext, EventStore } from './ports.ts';
import type { RepositoryProbe } from './repository-ports.ts';

/** What no two repositories may share: a name, and a directory of a storage node. */
export type RepositoryClaim = Readonly<{ repositoryId: string; name: string; path: string; storageNode: string }>;

type Deps = Readonly<{ store: EventStore; clock: Clock; paths: Pick<RepositoryProbe, 'realPath'> }>;

/** Throws what `claimNameAndRoot` would, and changes nothing. `repositoryId`: whose own claims do not count. */
export const assertNameAndRootFree = async (
  deps: Deps,
  wanted: Omit<RepositoryClaim, 'repositoryId'> & Readonly<{ repositoryId: string | undefined }>,
): Promise<void> => {
  const { repositoryId, name, path, storageNode } = wanted;
  const { state } = await load(deps.store, claimDecider, streamOf.claim('repositoryName', name));
  const { holder, since } = state;
  if (holder !== null && since !== null && holder !== repositoryId && (await lives(deps, holder, since))) {
    throw new DomainError('name-taken', `"${name}" is already in use; choose another name`, { name });
  }
  const realPath = await realPathOf(deps, path);
  for (const root of await othersOverlapping(deps, storageNode, realPath, repositoryId)) {
    if (await lives(deps, root.repositoryId, root.claimedAt)) throw pathTaken(realPath, root);
  }
};

/** Repeatable, and all or nothing. Throws `name-taken`, `repository-path-taken`. The directory exists. */
export const claimNameAndRoot = async (deps: Deps, claim: RepositoryClaim, context: CommandContext): Promise<void> => {
  const { repositoryId, name } = claim;
  const nameOf = { kind: 'repositoryName', name, holder: repositoryId } as const;
  const holderLives = (holder: string, since: string) => lives(deps, holder, since);
  await claimName(deps, { ...nameOf, holderLives }, context);
  try {
    await claimRoot(deps, claim, context);
  } catch (error) {
    await releaseName(deps, nameOf, context);
    throw error;
  }
};

/** Repeatable. What a crash leaves undone of it is found abandoned by whoever wants the name or the directory next. */
export const freeNameAndRoot = async (
  { store, clock }: Omit<Deps, 'paths'>,
  { repositoryId, name, storageNode }: Omit<RepositoryClaim, 'path'>,
  context: CommandContext,
): Promise<void> => {
  await releaseName({ store, clock }, { kind: 'repositoryName', name, holder: repositoryId }, context);
  await handle(
    store,
    { decider: repositoryRootsDecider, stream: streamOf.repositoryRoots(storageNode) },
    { type: 'ReleaseRoot', data: { repositoryId, at: clock.now() } },
    context,
  );
};

const claimRoot = async (deps: Deps, claim: RepositoryClaim, context: CommandContext): Promise<void> => {
  const { repositoryId, name, path, storageNode } = claim;
  const realPath = await realPathOf(deps, path);
  const abandonedBy: string[] = [];
  for (const root of await othersOverlapping(deps, storageNode, realPath, repositoryId)) {
    if (!(await lives(deps, root.repositoryId, root.claimedAt))) abandonedBy.push(root.repositoryId);
  }
  await handle(
    deps.store,
    { decider: repositoryRootsDecider, stream: streamOf.repositoryRoots(storageNode) },
    { type: 'ClaimRoot', data: { repositoryId, name, realPath, abandonedBy, at: deps.clock.now() } },
    context,
  );
};

/** Whether a repository found as the holder of a claim exists, or may be just coming into being. */
const lives = async ({ store, clock }: Omit<Deps, 'paths'>, repositoryId: string, since: string): Promise<boolean> => {
  const { state } = await load(store, repositoryDecider, streamOf.repository(repositoryId));
  return state.status === 'none' ? isFresh(since, clock.now()) : state.status !== 'removed';
};

const othersOverlapping = async (
  { store }: Deps,
  storageNode: string,
  realPath: string,
  own: string | undefined,
): Promise<readonly RepositoryRoot[]> => {
  const { state } = await load(store, repositoryRootsDecider, streamOf.repositoryRoots(storageNode));
  return rootsOverlapping(state, realPath).filter((root) => root.repositoryId !== own);
};

/** The real path of a directory that may be missing: of what exists of it, with the rest behind. */
const realPathOf = async ({ paths }: Deps, path: string): Promise<string> => {
  for (let existing = path; existing !== ''; existing = existing.slice(0, existing.lastIndexOf('/'))) {
    const real = await paths.realPath(existing).catch(() => undefined);
    if (real !== undefined) return `${real === '/' ? '' : real}${path.slice(existing.length)}`;
  }
  return path;
};
