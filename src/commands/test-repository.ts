import type { LocalConfig } from '#domain/repository/config.ts';
import { repositoryDecider, repositoryNotFound } from '#domain/repository/repository.ts';
import { streamOf } from '#domain/streams.ts';
import { load } from './handle.ts';
import type { Clock, EventStore } from './ports.ts';
import type { StorageFacts } from './repository-ports.ts';
import type { StorageMeter } from './storage-meter.ts';

export type TestedStorage = StorageFacts & Readonly<{ path: string; at: string }>;

type Deps = Readonly<{ store: EventStore; clock: Clock; meter: StorageMeter }>;

/** Tries a directory as it would be used; keeps nothing. Throws `repository-unusable`. */
export const createTestRepository = ({ store, clock, meter }: Deps) => {
  const testConfig = async ({ path }: Pick<LocalConfig, 'path'>, signal: AbortSignal): Promise<TestedStorage> => ({
    ...(await meter.test(path, signal)),
    path,
    at: clock.now(),
  });

  /** The same for one that was added. Throws `repository-not-found` too. */
  const testStored = async (repositoryId: string, signal: AbortSignal): Promise<TestedStorage> => {
    const { state } = await load(store, repositoryDecider, streamOf.repository(repositoryId));
    if (state.status === 'none' || state.status === 'removed') throw repositoryNotFound(repositoryId);
    return testConfig(state, signal);
  };

  return { testConfig, testStored };
};

export type TestRepository = ReturnType<typeof createTestRepository>;
