import { repositoryDecider, repositoryNotFound } from '#domain/repository/repository.ts';
import { keptMeasurements, repositoryStorageDecider, type StorageMeasured } from '#domain/repository/storage.ts';
import { streamOf } from '#domain/streams.ts';
import { handle, load } from './handle.ts';
import type { Clock, CommandContext, EventStore } from './ports.ts';
import type { RepositoryDirectory } from './repository-ports.ts';
import type { StorageMeter } from './storage-meter.ts';

type Place = Readonly<{ repositoryId: string; path: string }>;
type Recorded = Readonly<{ measured: StorageMeasured; path: string; position: bigint | undefined }>;

/** One repository's part of a refresh. */
export type Refreshed = Readonly<{ repositoryId: string; name: string }> &
  (Readonly<{ ok: true; measured: StorageMeasured; path: string }> | Readonly<{ ok: false; reason: string }>);

type Deps = Readonly<{
  store: EventStore;
  clock: Clock;
  meter: StorageMeter;
  directory: Pick<RepositoryDirectory, 'list'>;
}>;

/** How full repositories are. Each is asked for a bounded time, all at once. */
export const createMeasureRepositories = ({ store, clock, meter, directory }: Deps) => {
  const measure = async ({ repositoryId, path }: Place, signal: AbortSignal): Promise<StorageMeasured> => {
    const { totalBytes, usedBytes, availableBytes } = await meter.measure(path, signal);
    return { repositoryId, totalBytes, usedBytes, availableBytes, at: clock.now() };
  };

  const measureAndRecord = async (place: Place, context: CommandContext, signal: AbortSignal): Promise<Recorded> => {
    const measured = await measure(place, signal);
    const stream = streamOf.repositoryStorage(place.repositoryId);
    const { position, first } = await handle(
      store,
      { decider: repositoryStorageDecider, stream },
      { type: 'RecordMeasurement', data: measured },
      context,
    );
    if (first) await store.bound(stream, { maxCount: keptMeasurements });
    return { measured, path: place.path, position };
  };

  return {
    /** As it is now, kept nowhere; null for one that cannot be reached. Never throws: a list is shown whatever its parts do. */
    peek: (place: Place, signal: AbortSignal): Promise<StorageMeasured | null> =>
      measure(place, signal).catch(() => null),

    /** Measures one and records it. Throws `repository-not-found`, `repository-unreachable`. */
    refresh: async (repositoryId: string, context: CommandContext, signal: AbortSignal): Promise<Recorded> => {
      const { state } = await load(store, repositoryDecider, streamOf.repository(repositoryId));
      if (state.status === 'none' || state.status === 'removed') throw repositoryNotFound(repositoryId);
      return measureAndRecord(state, context, signal);
    },

    /** Measures all and records what it could; one that fails does not keep the others from it. */
    refreshAll: async (
      context: CommandContext,
      signal: AbortSignal,
    ): Promise<Readonly<{ results: readonly Refreshed[]; position: bigint | undefined }>> => {
      const positions: bigint[] = [];
      const refreshOne = async ({ name, ...place }: Place & Readonly<{ name: string }>): Promise<Refreshed> => {
        const { repositoryId } = place;
        try {
          const { measured, path, position } = await measureAndRecord(place, context, signal);
          if (position !== undefined) positions.push(position);
          return { repositoryId, name, ok: true, measured, path };
        } catch (error) {
          return { repositoryId, name, ok: false, reason: error instanceof Error ? error.message : String(error) };
        }
      };
      const results = await Promise.all((await directory.list()).map(refreshOne));
      const position = positions.reduce<bigint | undefined>(
        (newest, each) => (newest === undefined || each > newest ? each : newest),
        undefined,
      );
      return { results, position };
    },
  };
};

export type MeasureRepositories = ReturnType<typeof createMeasureRepositories>;
