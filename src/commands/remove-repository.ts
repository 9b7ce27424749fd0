import { DomainError } from '#domain/errors.ts';
import { repositoryDecider, repositoryNotFound } from '#domain/repository/repository.ts';
import { streamOf } from '#domain/streams.ts';
import { handle } from './handle.ts';
import { afterNewest } from './newest-event.ts';
import { type Clock, type CommandContext, type EventStore, StoreUnavailable } from './ports.ts';
import { freeNameAndRoot } from './repository-claims.ts';
import type { RepositoryDirectory } from './repository-ports.ts';

type Deps = Readonly<{
  store: EventStore;
  clock: Clock;
  directory: Pick<RepositoryDirectory, 'caughtUp' | 'countBackups' | 'removing'>;
}>;

/**
 * Takes a repository out of use, never a file. First it takes no new backups, then those that got in before are counted,
 * then it goes or stays. Every step may be repeated: a removal that a crash cut short goes on where it was.
 */
export const createRemoveRepository = (deps: Deps) => {
  const { store, clock, directory } = deps;

  /** Throws `repository-not-found`, `repository-has-backups`. */
  const remove = async (
    repositoryId: string,
    context: CommandContext,
  ): Promise<Readonly<{ position: bigint | undefined }>> => {
    const target = { decider: repositoryDecider, stream: streamOf.repository(repositoryId) };
    const begun = await handle(
      store,
      target,
      { type: 'BeginRemoval', data: { repositoryId, at: clock.now() } },
      context,
    );
    if (begun.state.status !== 'removing') throw repositoryNotFound(repositoryId);
    const begunAt = begun.state.removalBegunAt;
    if (!(await directory.caughtUp())) {
      throw new StoreUnavailable('the read model lags too far behind to tell whether the repository holds backups');
    }
    const backupCount = await directory.countBackups(repositoryId);
    const { state, position } = await handle(
      store,
      target,
      { type: 'SettleRemoval', data: { repositoryId, begunAt, backupCount, at: clock.now() } },
      context,
    );
    if (state.status !== 'removed') {
      throw new DomainError('repository-has-backups', 'Cannot delete repository with existing backups', {
        backupCount,
      });
    }
    await freeNameAndRoot(deps, state, context);
    return { position };
  };

  /** Brings removals that a crash cut short to their end; for the start of the hub. */
  const resume = async (system: CommandContext): Promise<void> => {
    for (const repositoryId of await directory.removing()) {
      const context = await afterNewest(store, streamOf.repository(repositoryId), system);
      await remove(repositoryId, context).catch((error: unknown) => {
        if (!(error instanceof DomainError)) throw error; // refused is settled too
      });
    }
  };

  return { remove, resume };
};

export type RemoveRepository = ReturnType<typeof createRemoveRepository>;
