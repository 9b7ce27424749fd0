import type { Decider } from '../decider.ts';
import { DomainError } from '../errors.ts';
import type { Versions } from '../event-versions.ts';

/** A directory that belongs to one repository. */
export type RepositoryRoot = Readonly<{
  repositoryId: string;
  name: string;
  /** Symbolic links resolved when it was claimed. */
  realPath: string;
  claimedAt: string;
}>;

/**
 * One stream per storage node: which directories belong to repositories. Two repositories in one tree would delete each
 * other's files, and whether paths nest cannot be told from a single path's claim.
 */
export type RepositoryRootsEvent =
  | Readonly<{
      type: 'RepositoryRootClaimed';
      data: Readonly<{ repositoryId: string; name: string; realPath: string; at: string }>;
    }>
  | Readonly<{ type: 'RepositoryRootReleased'; data: Readonly<{ repositoryId: string; at: string }> }>;

export type RepositoryRootsState = Readonly<{ roots: readonly RepositoryRoot[] }>;

export type RepositoryRootsCommand =
  | Readonly<{
      type: 'ClaimRoot';
      data: Readonly<{
        repositoryId: string;
        name: string;
        realPath: string;
        /** Holders that the caller found gone, or never come to be. */
        abandonedBy: readonly string[];
        at: string;
      }>;
    }>
  | Readonly<{ type: 'ReleaseRoot'; data: Readonly<{ repositoryId: string; at: string }> }>;

type Claim = Extract<RepositoryRootsCommand, { type: 'ClaimRoot' }>['data'];

const isWithin = (path: string, folder: string): boolean => path === folder || path.startsWith(`${folder}/`);

/** Roots that hold this directory, or lie in it. */
export const rootsOverlapping = (state: RepositoryRootsState, realPath: string): readonly RepositoryRoot[] =>
  state.roots.filter((root) => isWithin(realPath, root.realPath) || isWithin(root.realPath, realPath));

const relationOf = (realPath: string, root: RepositoryRoot): string => {
  if (realPath === root.realPath) return 'is already used by';
  return isWithin(realPath, root.realPath) ? 'lies inside' : 'contains';
};

export const pathTaken = (realPath: string, root: RepositoryRoot): DomainError =>
  new DomainError(
    'repository-path-taken',
    `${realPath} ${relationOf(realPath, root)} the repository "${root.name}" (${root.realPath}); choose another directory`,
    { repositoryId: root.repositoryId, name: root.name, path: root.realPath },
  );

const claim = (data: Claim, state: RepositoryRootsState): readonly RepositoryRootsEvent[] => {
  const { repositoryId, name, realPath, abandonedBy, at } = data;
  const own = state.roots.find((root) => root.repositoryId === repositoryId);
  if (own?.realPath === realPath) return [];
  const others = rootsOverlapping(state, realPath).filter((root) => root.repositoryId !== repositoryId);
  const holder = others.find((root) => !abandonedBy.includes(root.repositoryId));
  if (holder) throw pathTaken(realPath, holder);
  const given = own ? [...others, own] : others;
  return [
    ...given.map(
      (root) => ({ type: 'RepositoryRootReleased', data: { repositoryId: root.repositoryId, at } }) as const,
    ),
    { type: 'RepositoryRootClaimed', data: { repositoryId, name, realPath, at } },
  ];
};

const decide = (command: RepositoryRootsCommand, state: RepositoryRootsState): readonly RepositoryRootsEvent[] => {
  switch (command.type) {
    case 'ClaimRoot':
      return claim(command.data, state);
    case 'ReleaseRoot': {
      const { repositoryId, at } = command.data;
      return state.roots.some((root) => root.repositoryId === repositoryId)
        ? [{ type: 'RepositoryRootReleased', data: { repositoryId, at } }]
        : [];
    }
  }
};

const evolve = (state: RepositoryRootsState, event: RepositoryRootsEvent): RepositoryRootsState => {
  switch (event.type) {
    case 'RepositoryRootClaimed': {
      const { repositoryId, name, realPath, at } = event.data;
      return { roots: [...state.roots, { repositoryId, name, realPath, claimedAt: at }] };
    }
    case 'RepositoryRootReleased':
      return { roots: state.roots.filter((root) => root.repositoryId !== event.data.repositoryId) };
  }
};

export const repositoryRootsDecider: Decider<RepositoryRootsState, RepositoryRootsCommand, RepositoryRootsEvent> = {
  initialState: { roots: [] },
  decide,
  evolve,
};

export const repositoryRootsEventVersions: Versions<RepositoryRootsEvent> = {
  RepositoryRootClaimed: 1,
  RepositoryRootReleased: 1,
};
