import type { MeasureRepositories } from '#commands/measure-repositories.ts';
import { repositoryNotFound } from '#domain/repository/repository.ts';
import type { Endpoint } from '#http/route.ts';
import { openMomentTables } from '#infra/postgres/moment-tables.ts';
import { backupsProjection } from '#projections/backups.ts';
import { statementsFor } from '#projections/batch.ts';
import { isEventsFault } from '#projections/faults.ts';
import { type AnyProjection, anyProjection } from '#projections/projection.ts';
import { diskNumbersFrom, tablesOf } from '#projections/replay.ts';
import { type RepositoryQueries, repositoriesProjection } from '#projections/repositories.ts';
import { vmContextsProjection } from '#projections/vm-contexts.ts';
import type { PastEvent } from './past-sources.ts';
import { createQueries } from './services.ts';
import type { Stores } from './stores.ts';

type Queries = ReturnType<typeof createQueries>;

/** The views that can be asked about the past, as they are applied to the live tables. */
const views: readonly AnyProjection[] = [
  anyProjection(repositoriesProjection),
  anyProjection(vmContextsProjection),
  anyProjection(backupsProjection),
];

/** What a route needs to answer from the tables of a moment. */
export type PastTables = Readonly<{ queries: Queries; measured: MeasureRepositories }>;

/** The API's endpoints over the tables of a moment; only those that ask and change nothing are called. */
export type Past = Readonly<{
  queries: Queries;
  endpoints: ReadonlyMap<string, Endpoint>;
  isLost: () => boolean;
  close: () => Promise<void>;
}>;

/** Statements sent at once: enough to make the way to the database cheap, few enough to be held in memory. */
const statementsAtOnce = 500;

type Write = (statements: readonly string[]) => Promise<void>;
type Written = Readonly<{ stream: string; statements: readonly string[] }>;

const textOfEvent = ({ recorded, disksFrom }: PastEvent): readonly string[] => [
  ...(disksFrom === undefined ? [] : diskNumbersFrom(disksFrom)),
  ...views.flatMap((view) => statementsFor(view, recorded)),
];

/** An event that the live tables could not take either is left out with all that follows in its stream. */
const createWriter = (write: Write) => {
  const left = new Set<string>();
  const leaveOut = async (stream: string, work: () => Promise<void> | void): Promise<void> => {
    if (left.has(stream)) return;
    try {
      await work();
    } catch (error) {
      if (!isEventsFault(error)) throw error;
      left.add(stream);
    }
  };
  return {
    leaveOut,
    write: async (batch: readonly Written[]): Promise<void> => {
      try {
        await write(batch.flatMap(({ statements }) => statements));
      } catch (error) {
        if (!isEventsFault(error)) throw error;
        for (const { stream, statements } of batch) await leaveOut(stream, () => write(statements));
      }
    },
  };
};

const fill = async (events: AsyncIterable<PastEvent>, write: Write): Promise<void> => {
  const writer = createWriter(write);
  let batch: Written[] = [];
  let size = 0;
  for await (const event of events) {
    const { stream } = event.recorded;
    await writer.leaveOut(stream, () => {
      const statements = textOfEvent(event);
      batch.push({ stream, statements });
      size += statements.length;
    });
    if (size < statementsAtOnce) continue;
    await writer.write(batch);
    batch = [];
    size = 0;
  }
  await writer.write(batch);
};

/** How full repositories were when they were last measured; a measurement of today would not be of then. */
const recordedStorage = ({ list, storageOf }: RepositoryQueries): MeasureRepositories => ({
  peek: async ({ repositoryId }) => (await storageOf(repositoryId)) ?? null,
  refresh: async (repositoryId) => {
    const measured = await storageOf(repositoryId);
    const path = (await list()).find((each) => each.repositoryId === repositoryId)?.path;
    if (!measured || path === undefined) throw repositoryNotFound(repositoryId);
    return { measured, path, position: undefined };
  },
  refreshAll: async () => {
    throw new Error('what is past is not measured');
  },
});

type BuildDeps = Readonly<{
  postgres: Stores['postgres'];
  endpointsOver: (tables: PastTables) => ReadonlyMap<string, Endpoint>;
}>;

/** Replays these events into tables of their own and puts the API's own endpoints over them. */
export const buildPast = async (
  { postgres, endpointsOver }: BuildDeps,
  events: AsyncIterable<PastEvent>,
): Promise<Past> => {
  const tables = await openMomentTables(postgres, tablesOf(views));
  try {
    await fill(events, tables.write);
    await tables.analyse(views.flatMap((view) => Object.keys(view.tables)));
  } catch (error) {
    await tables.close();
    throw error;
  }
  const queries = createQueries({ readModel: tables.db });
  const endpoints = endpointsOver({ queries, measured: recordedStorage(queries.repositories) });
  return { queries, endpoints, isLost: tables.isLost, close: tables.close };
};
