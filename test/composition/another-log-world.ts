import { cp } from 'node:fs/promises';
import type { TestContext } from 'node:test';
import type { EventFeed } from '#commands/ports.ts';
import type { NbdPortsEvent } from '#domain/nbd-ports/nbd-ports.ts';
import { streamOf } from '#domain/streams.ts';
import { createEventFeed } from '#infra/event-store/event-feed.ts';
import { createEventStore } from '#infra/event-store/event-store.ts';
import { createLogIdentity } from '#infra/event-store/log-identity.ts';
import { createStreamReader } from '#infra/event-store/stream-reader.ts';
import { createEventStoreMaintenance } from '#infra/event-store-maintenance.ts';
import type { Database } from '#infra/postgres/database.ts';
import { eventVersions, upcast } from '../../src/composition/event-registry.ts';
import { startReadModel } from '../../src/composition/read-model.ts';
import { startServer, tempDir } from '../infra/embedded-event-store/support.ts';
import { at } from '../support/backup-facts.ts';
import { context } from '../support/backup-world.ts';
import type { TestPostgres } from '../support/postgres.ts';

const allocated = (port: number): NbdPortsEvent => ({
  type: 'NbdPortsAllocated',
  data: { leases: [{ port, jobId: `job-${port}`, exportName: 'x', allocatedAt: at(), expiresAt: at(1) }] },
});

/** A real event store in this process, with all that a hub reads it by. */
export const openLog = async (t: TestContext, dataDir?: string) => {
  const { client, server, dataDir: where } = await startServer(t, dataDir === undefined ? {} : { dataDir });
  const store = createEventStore({ client, upcast, versions: eventVersions });
  const feed = createEventFeed({ client, upcast });
  return {
    ...{ client, store, feed, dataDir: where },
    readStream: createStreamReader({ client, upcast }),
    logIdentity: createLogIdentity(client, feed.head),
    /** One event each. */
    lease: async (...ports: readonly number[]): Promise<void> => {
      const stream = streamOf.nbdPorts('hub-1');
      for (const port of ports) {
        const { revision } = await store.read(stream);
        await store.append(stream, [allocated(port)], revision, context());
      }
    },
    /** Under clients that are still connected. */
    stopServer: () => server.close(),
    close: async () => {
      await client.dispose();
      await server.close();
    },
  };
};

export type Log = Awaited<ReturnType<typeof openLog>>;

/** What the log is now, in a folder of its own; it is open nowhere. */
export const copyOf = async (t: TestContext, log: Log): Promise<string> => {
  const copy = await tempDir(t);
  await log.close();
  await cp(log.dataDir, copy, { recursive: true });
  return copy;
};

/** What no reader of a stream sees any more is gone for good. */
export const scavenge = async ({ client }: Pick<Log, 'client'>): Promise<void> => {
  for await (const _ of createEventStoreMaintenance(client).scavenge());
};

export type HubOptions = Readonly<{
  feed?: EventFeed;
  logIdentity?: Log['logIdentity'];
  readStream?: Log['readStream'];
  patienceMs?: number;
  onProblem?: (problem: unknown) => void;
}>;

const running = new Set<() => Promise<void>>();

/** The database as another hub sees it; it is closed with the test, after the hubs that use it. */
export const secondDatabase = async (t: TestContext, postgres: TestPostgres): Promise<Database> => {
  const database = await postgres.again();
  t.after(async () => {
    for (const end of running) await end();
    await database.close();
  });
  return database;
};

/** The read models of a hub, as it starts them. */
export const startTables = async (t: TestContext, log: Log, database: Database, options: HubOptions = {}) => {
  const stop = new AbortController();
  const begunAnew: string[] = [];
  const problems: unknown[] = [];
  const readModel = await startReadModel(
    {
      ...{ feed: log.feed, readStream: log.readStream, logIdentity: log.logIdentity, database },
      onProblem: (problem) => problems.push(problem),
      onBegunAnew: (why) => begunAnew.push(why),
      ...options,
    },
    stop.signal,
  );
  const end = async (): Promise<void> => {
    running.delete(end);
    stop.abort();
    await readModel.runner.done;
  };
  running.add(end);
  t.after(end);
  return { readModel, begunAnew, problems, end };
};

export const portsIn = async ({ readModel }: Database): Promise<readonly number[]> =>
  (await readModel.selectFrom('nbd_port_allocations').select('port').orderBy('port').execute()).map(({ port }) => port);

/** Of the events in the index, with the positions that it tells. */
export const positionsIn = async ({ readModel }: Database): Promise<readonly bigint[]> =>
  (await readModel.selectFrom('event_index').select('position').orderBy('position').execute()).map(({ position }) =>
    BigInt(position),
  );
