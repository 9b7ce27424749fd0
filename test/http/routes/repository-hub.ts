import { mkdtemp, realpath, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAddRepository } from '#commands/add-repository.ts';
import { createMeasureRepositories } from '#commands/measure-repositories.ts';
import { createRemoveRepository } from '#commands/remove-repository.ts';
import type { RepositoryProbe } from '#commands/repository-ports.ts';
import { createStorageMeter } from '#commands/storage-meter.ts';
import { createTestRepository } from '#commands/test-repository.ts';
import { createApp } from '#http/app.ts';
import { listen } from '#http/listen.ts';
import { repositoryEndpoints } from '#http/routes/repositories.ts';
import { createLogger } from '#infra/logger.ts';
import type { Database } from '#infra/postgres/database.ts';
import { createRepositoryStorage } from '#infra/repository-storage.ts';
import { type RepositoryQueries, repositoryQueries } from '#projections/repositories.ts';
import { startReadModel } from '../../../src/composition/read-model.ts';
import { openStores, type Stores } from '../../../src/composition/stores.ts';
import { openDoor } from '../support.ts';

export type Reply = Readonly<{ status: number; body: Readonly<Record<string, unknown>>; headers: Headers }>;

export type RepositoryHub = Readonly<{
  stores: Stores;
  repositories: RepositoryQueries;
  /** Below it the tests make their repositories. */
  root: string;
  /** Where measuring hangs, if anywhere. */
  dead: Set<string>;
  call: (route: string, body?: unknown, headers?: Readonly<Record<string, string>>) => Promise<Reply>;
  /** Waits until the tables hold everything that the log holds. */
  caughtUp: () => Promise<boolean>;
  close: () => Promise<void>;
}>;

const clock = { now: () => new Date().toISOString() };
const measureTimeoutMs = 500;

/** Repositories on the real embedded stores, real folders and the real HTTP application. */
export const startRepositoryHub = async (): Promise<RepositoryHub> => {
  const folder = await mkdtemp(join(await realpath(tmpdir()), 'sendense-repositories-'));
  const stop = new AbortController();
  const log = createLogger({ level: 'trace' }, { write: () => undefined });
  const embedded = (name: string) => ({ kind: 'embedded' as const, dataDir: join(folder, name) });
  const eventStore = { ...embedded('events'), scavengeEverySeconds: 0 };
  const stores = await openStores({ eventStore, database: embedded('postgres') }, log, stop.signal);
  const { store, feed, database } = stores;
  const db = database.readModel;
  const onProblem = (err: unknown) => log.error({ err }, 'stopped');
  const { runner, settled } = await startReadModel({ ...stores, onProblem, onBegunAnew: onProblem }, stop.signal);
  const repositories = repositoryQueries(db);
  const caughtUp = async () => runner.waitFor(await feed.head(), 10_000);
  const directory = { ...repositories, list: () => repositories.list(), caughtUp };
  const dead = new Set<string>();
  const storage = createRepositoryStorage();
  const probe: RepositoryProbe = {
    ...storage,
    measure: (path, signal) => (dead.has(path) ? new Promise(() => undefined) : storage.measure(path, signal)),
  };
  const meter = createStorageMeter(probe, { testTimeoutMs: 5_000, measureTimeoutMs });
  const deps = { store, clock, meter, directory, paths: probe, storageNode: 'hub-1' };
  const endpoints = repositoryEndpoints({
    ...{
      repositories,
      settled,
      addRepository: createAddRepository(deps),
      removeRepository: createRemoveRepository(deps),
    },
    ...{ testRepository: createTestRepository(deps), measureRepositories: createMeasureRepositories(deps) },
  });
  const app = createApp({ endpoints, authenticate: openDoor, log, cors: [] });
  const server = await listen(app, { host: '127.0.0.1', port: 0, graceMs: 200 });
  const call: RepositoryHub['call'] = async (route, body, headers = {}) => {
    const [method = 'GET', path = ''] = route.split(/ (.*)/s);
    const response = await fetch(`${server.url}/api/v1${path}`, {
      method,
      headers,
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    return { status: response.status, body: (await response.json()) as Reply['body'], headers: response.headers };
  };
  const close = async () => {
    await server.close();
    stop.abort();
    await runner.done;
    await stores.close();
    await rm(folder, { recursive: true, force: true });
  };
  return { stores, repositories, root: join(folder, 'root'), dead, call, caughtUp, close };
};

/** A row as the backups' projection makes it, as far as repositories are concerned. */
export const recordBackup = async (
  database: Database,
  backup: Readonly<{ backupId: string; repositoryId: string; status: 'running' | 'completed' | 'failed' }>,
): Promise<void> => {
  const at = clock.now();
  const { backupId, repositoryId, status } = backup;
  await database.readModel
    .insertInto('backup_jobs')
    .values({
      ...{ backup_id: backupId, repository_id: repositoryId, status, backup_type: 'full', tags: '{}', position: '1' },
      ...{ vm_context_id: 'ctx-vm', vm_name: 'vm', vm_path: '/vm', backup_context_id: 'ctx-backup-vm' },
      ...{ current_phase: status, disks_count: 1, bytes_transferred: 0, total_bytes: 0, progress_percent: 0 },
      ...{ transfer_speed_bps: 0, eta_seconds: 0, closed: status !== 'running' },
      ...{ created_at: at, started_at: at, last_activity_at: at },
    })
    .execute();
};
