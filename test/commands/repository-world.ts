import { randomUUID } from 'node:crypto';
import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { EventStoreDBClient } from '@eventstore/db-client';
import { type AddRepositoryInput, createAddRepository } from '#commands/add-repository.ts';
import { createMeasureRepositories } from '#commands/measure-repositories.ts';
import type { CommandContext, EventStore } from '#commands/ports.ts';
import { createRemoveRepository } from '#commands/remove-repository.ts';
import type { RepositoryDirectory, RepositoryProbe } from '#commands/repository-ports.ts';
import { createStorageMeter } from '#commands/storage-meter.ts';
import { createTestRepository } from '#commands/test-repository.ts';
import { claimEventVersions } from '#domain/claim/claim.ts';
import { createUpcaster } from '#domain/event-versions.ts';
import { idempotencyKeyEventVersions } from '#domain/idempotency-key/idempotency-key.ts';
import { repositoryEventVersions } from '#domain/repository/repository.ts';
import { repositoryRootsEventVersions } from '#domain/repository/roots.ts';
import { repositoryStorageEventVersions } from '#domain/repository/storage.ts';
import { createEventStoreServer } from '#infra/embedded-event-store/server.ts';
import { createEventStore } from '#infra/event-store/event-store.ts';
import { createRepositoryStorage } from '#infra/repository-storage.ts';

const versions = {
  ...claimEventVersions,
  ...idempotencyKeyEventVersions,
  ...repositoryEventVersions,
  ...repositoryRootsEventVersions,
  ...repositoryStorageEventVersions,
};

export const never = new AbortController().signal;

/** A folder of its own, without links in its path, gone after the test. */
export const tempFolder = async (t: TestContext): Promise<string> => {
  const folder = await mkdtemp(join(await realpath(tmpdir()), 'sendense-repository-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
};

/** The real event store, in this process. */
export const startEventStore = async (t: TestContext): Promise<EventStore> => {
  const dataDir = await mkdtemp(join(tmpdir(), 'sendense-repository-events-'));
  const server = await createEventStoreServer({ dataDir });
  const client = EventStoreDBClient.connectionString(`esdb://127.0.0.1:${server.port}?tls=false`);
  t.after(async () => {
    await client.dispose();
    await server.close();
    await rm(dataDir, { recursive: true, force: true });
  });
  return createEventStore({ client, upcast: createUpcaster(versions, {}), versions });
};

/** What the read model would tell, at the test's command. */
export const directoryOf = () => {
  const facts = {
    backups: 0,
    caughtUp: true,
    repositories: [] as { repositoryId: string; name: string; path: string }[],
  };
  const removing: string[] = [];
  const directory: RepositoryDirectory = {
    list: async () => facts.repositories,
    countBackups: async () => facts.backups,
    removing: async () => removing,
    caughtUp: async () => facts.caughtUp,
  };
  return { facts, removing, directory };
};

export const contextOf = (commandId: string = randomUUID()): CommandContext => ({
  ...{ actor: 'user:admin', correlationId: commandId, commandId },
});

export const wanted = (name: string, path: string, more: Partial<AddRepositoryInput> = {}): AddRepositoryInput => ({
  ...{ name, type: 'local', config: { path }, enabled: true },
  immutability: { isImmutable: false, minRetentionDays: 0, hasImmutableConfig: false },
  ...more,
});

/** All repository commands on the real event store and real folders; parts can be put in their place. */
export const repositoryWorld = async (t: TestContext, parts: Partial<RepositoryProbe> = {}) => {
  const store = await startEventStore(t);
  const time = { now: '2026-01-02T03:04:05.678Z' };
  const clock = { now: () => time.now };
  const storage = createRepositoryStorage();
  const probe: RepositoryProbe = {
    ...{ test: storage.test, measure: storage.measure, realPath: storage.realPath },
    ...parts,
  };
  const meter = createStorageMeter(probe);
  const { facts, removing, directory } = directoryOf();
  const deps = { store, clock, meter, directory, paths: probe, storageNode: 'hub-1' };
  const addRepository = createAddRepository(deps);
  return {
    ...{ store, time, facts, removing, deps },
    add: (input: AddRepositoryInput, context = contextOf()) => addRepository(input, context, undefined, never),
    addRepository,
    removal: createRemoveRepository(deps),
    tests: createTestRepository(deps),
    measurements: createMeasureRepositories(deps),
    typesIn: async (stream: string): Promise<readonly string[]> => {
      const { events } = await store.read(stream);
      return events.map(({ event }) => event.type);
    },
  };
};
