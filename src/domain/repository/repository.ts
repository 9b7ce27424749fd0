import type { Decider } from '../decider.ts';
import { DomainError } from '../errors.ts';
import type { Versions } from '../event-versions.ts';
import type { LocalConfig, RepositoryType } from './config.ts';
import type { StorageSpace } from './storage.ts';

type OfRepository = Readonly<{ repositoryId: string; at: string }>;

/** A place for backup images, as it was added. Its files are never touched by what happens here. */
export type RepositoryAdded = Readonly<{
  type: 'RepositoryAdded';
  data: OfRepository &
    Readonly<{
      name: string;
      type: RepositoryType;
      enabled: boolean;
      config: LocalConfig;
      /** The host that can open its files. */
      storageNode: string;
      /** What its test found. */
      storage: StorageSpace;
    }>;
}>;

export type RepositoryEvent =
  | RepositoryAdded
  /** No new backups from here on; whether it may go is counted afterwards, so that none slips in between. */
  | Readonly<{ type: 'RepositoryRemovalBegun'; data: OfRepository }>
  | Readonly<{ type: 'RepositoryRemovalRefused'; data: OfRepository & Readonly<{ backupCount: number }> }>
  | Readonly<{ type: 'RepositoryRemoved'; data: OfRepository }>;

export type KnownRepository = Readonly<{
  status: 'active' | 'removing' | 'removed';
  repositoryId: string;
  name: string;
  type: RepositoryType;
  enabled: boolean;
  /** Root of the images. */
  path: string;
  config: LocalConfig;
  storageNode: string;
  addedAt: string;
  /** Tells one removal from another: what was counted for an earlier one says nothing about this one. */
  removalBegunAt: string | null;
}>;

export type RepositoryState = Readonly<{ status: 'none' }> | KnownRepository;

export type RepositoryCommand =
  | Readonly<{ type: 'AddRepository'; data: RepositoryAdded['data'] }>
  | Readonly<{ type: 'BeginRemoval'; data: OfRepository }>
  | SettleRemoval;

type SettleRemoval = Readonly<{
  type: 'SettleRemoval';
  data: OfRepository &
    Readonly<{
      /** `removalBegunAt` of the removal that it settles. */
      begunAt: string | null;
      /** What is recorded there, counted after that removal had begun. */
      backupCount: number;
    }>;
}>;

export const repositoryNotFound = (repositoryId: string): DomainError =>
  new DomainError('repository-not-found', 'Repository not found', { repositoryId });

const settle = (
  { repositoryId, begunAt, backupCount, at }: SettleRemoval['data'],
  state: RepositoryState,
): readonly RepositoryEvent[] => {
  if (state.status !== 'removing' || state.removalBegunAt !== begunAt) return []; // somebody else settled it
  return backupCount > 0
    ? [{ type: 'RepositoryRemovalRefused', data: { repositoryId, backupCount, at } }]
    : [{ type: 'RepositoryRemoved', data: { repositoryId, at } }];
};

const decide = (command: RepositoryCommand, state: RepositoryState): readonly RepositoryEvent[] => {
  switch (command.type) {
    case 'AddRepository':
      if (state.status === 'removed') throw repositoryNotFound(command.data.repositoryId);
      return state.status === 'none' ? [{ type: 'RepositoryAdded', data: command.data }] : [];
    case 'BeginRemoval':
      if (state.status === 'none' || state.status === 'removed') throw repositoryNotFound(command.data.repositoryId);
      return state.status === 'active' ? [{ type: 'RepositoryRemovalBegun', data: command.data }] : [];
    case 'SettleRemoval':
      return settle(command.data, state);
  }
};

const withStatus = (
  state: RepositoryState,
  status: KnownRepository['status'],
  removalBegunAt: string | null,
): RepositoryState => (state.status === 'none' ? state : { ...state, status, removalBegunAt });

const evolve = (state: RepositoryState, event: RepositoryEvent): RepositoryState => {
  switch (event.type) {
    case 'RepositoryAdded': {
      const { repositoryId, name, type, enabled, config, storageNode, at } = event.data;
      return {
        ...{ status: 'active', repositoryId, name, type, enabled },
        ...{ path: config.path, config, storageNode, addedAt: at, removalBegunAt: null },
      };
    }
    case 'RepositoryRemovalBegun':
      return withStatus(state, 'removing', event.data.at);
    case 'RepositoryRemovalRefused':
      return withStatus(state, 'active', null);
    case 'RepositoryRemoved':
      return withStatus(state, 'removed', null);
  }
};

export const repositoryDecider: Decider<RepositoryState, RepositoryCommand, RepositoryEvent> = {
  initialState: { status: 'none' },
  decide,
  evolve,
};

export const repositoryEventVersions: Versions<RepositoryEvent> = {
  RepositoryAdded: 1,
  RepositoryRemovalBegun: 1,
  RepositoryRemovalRefused: 1,
  RepositoryRemoved: 1,
};
