import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import { ensureAdminPassword } from '#http/admin-password.ts';
import { createApp } from '#http/app.ts';
import { createAuthenticate } from '#http/auth.ts';
import { listen } from '#http/listen.ts';
import { apiDocsPages } from '#http/routes/api-docs.ts';
import { createSessions } from '#http/sessions.ts';
import type { Config } from '#infra/config.ts';
import { lockDataDir } from '#infra/data-dir-lock.ts';
import { createSideFiles } from '#infra/side-files.ts';
import { createPasswordStore } from '#infra/vault/password-store.ts';
import { startBackground } from './composition/background.ts';
import { createEndpoints } from './composition/endpoints.ts';
import { createHealth } from './composition/health.ts';
import { createJobFeed } from './composition/job-feed.ts';
import { startReadModel } from './composition/read-model.ts';
import { clock, createServices } from './composition/services.ts';
import { createSessionStore } from './composition/session-store.ts';
import { openStores } from './composition/stores.ts';

export type RunningHub = Readonly<{
  url: string;
  /** Stops in order: no new requests, the steps under way, the stores. */
  close: () => Promise<void>;
}>;

export type HubOptions = Readonly<{
  config: Config;
  log: Logger;
  /** Shows a generated administrator's password to the person at the terminal, once; it is kept hashed. */
  announcePassword: (password: string) => void;
}>;

/** The newest of everything that must be undone, last. */
const createCleanup = () => {
  const steps: (() => Promise<unknown> | unknown)[] = [];
  return {
    add: (step: () => Promise<unknown> | unknown) => steps.push(step),
    run: async () => {
      for (const step of steps.splice(0).reverse()) await step();
    },
  };
};

const readVersion = async (): Promise<string> => {
  const text = await readFile(new URL('../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
};

const startParts = async ({ config, log, announcePassword }: HubOptions, cleanup: ReturnType<typeof createCleanup>) => {
  const hubStartedAt = clock.now();
  const stop = new AbortController();
  await mkdir(config.dataDir, { recursive: true, mode: 0o750 });
  const lock = lockDataDir(config.dataDir, 'sendense hub');
  cleanup.add(lock.release);

  const stores = await openStores(config, log, stop.signal);
  cleanup.add(stores.close);
  const services = await createServices(config, stores, log);
  cleanup.add(services.exporter.close);

  const onProblem = (error: unknown): void => log.warn({ err: error }, 'the read models do not get on; trying again');
  const readModel = startReadModel({ feed: stores.feed, db: stores.database.readModel, onProblem }, stop.signal);
  const background = startBackground({ stores, services, readModel, config, log }, hubStartedAt, stop.signal);
  cleanup.add(async () => {
    stop.abort();
    await Promise.all([background.done, readModel.runner.done]);
  });

  const passwords = createPasswordStore(stores.database.vault, clock.now);
  const { adminPassword: configured } = config.auth;
  await ensureAdminPassword({ ...(configured ? { configured } : {}), store: passwords, announce: announcePassword });
  const db = stores.database.readModel;
  const sessionStore = createSessionStore({ store: stores.store, clock, db, settled: readModel.settled });
  const sessions = createSessions({ store: sessionStore, clock, ttlSeconds: config.auth.sessionTtlSeconds });
  const version = await readVersion();
  const endpoints = createEndpoints({
    ...{ stores, services, readModel, version, log },
    auth: {
      ...{ sessions, passwords },
      appliances: { sha256Of: async (id) => config.auth.applianceTokenHashes.get(id) },
      audit: (attempt) => log.info(attempt, 'login'),
    },
    health: createHealth({ stores, readModel, config, clock, processManagers: background.status }),
    jobFeed: createJobFeed(stores.feed),
  });
  const app = createApp({
    endpoints,
    authenticate: createAuthenticate({
      enabled: config.auth.required,
      loopbackCallbacks: config.auth.machineCallbacks,
      ...{ sessions, staticTokens: config.auth.apiTokenHashes, cors: config.http.corsOrigins },
    }),
    log: log.child({ part: 'http' }),
    cors: config.http.corsOrigins,
    pages: [apiDocsPages(async () => (await import('#http/openapi.ts')).renderOpenApi(endpoints, version))],
  });
  await readModel.runner.caughtUp;
  const server = await listen(app, config.http);
  cleanup.add(server.close);
  return server.url;
};

/**
 * Starts the hub and writes `hub.json` into the data directory once it is ready: stores open, read models caught up, API
 * listening. Whatever was started is stopped again when a later part fails.
 */
export const startHub = async (options: HubOptions): Promise<RunningHub> => {
  const { config, log } = options;
  const cleanup = createCleanup();
  try {
    const url = await startParts(options, cleanup);
    const addressFile = join(config.dataDir, 'hub.json');
    await createSideFiles().write(addressFile, { url, pid: process.pid });
    cleanup.add(() => rm(addressFile, { force: true }));
    if (!config.auth.required) log.warn('authentication is off: whoever reaches this address may do everything');
    log.info({ url, dataDir: config.dataDir }, 'hub ready');
    return { url, close: cleanup.run };
  } catch (error) {
    await cleanup.run();
    throw error;
  }
};
