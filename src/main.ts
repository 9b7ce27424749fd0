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
import { issueOperatorToken } from '#infra/operator-token.ts';
import { createSideFiles } from '#infra/side-files.ts';
import { assertNoUnfinishedImport } from '#infra/unfinished-import.ts';
import { createPasswordStore } from '#infra/vault/password-store.ts';
import { createHubAudit } from './composition/audit.ts';
import { startBackground } from './composition/background.ts';
import { createDryRun } from './composition/dry-run.ts';
import { createEndpoints, type EndpointDeps } from './composition/endpoints.ts';
import { createHealth } from './composition/health.ts';
import { createJobFeed } from './composition/job-feed.ts';
import { createMoments } from './composition/moments.ts';
import { startObservability } from './composition/observability.ts';
import type { Past } from './composition/past.ts';
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
  await assertNoUnfinishedImport(config.dataDir);

  const version = await readVersion();
  const observability = await startObservability({ config, version, log });
  cleanup.add(observability.close);
  const stores = observability.stores(await openStores(config, log, stop.signal));
  cleanup.add(stores.close);
  const services = await createServices(config, stores, log, observability.fetch);
  cleanup.add(services.exporter.close);
  cleanup.add(services.diskReader.close);

  const onProblem = (error: unknown): void => log.warn({ err: error }, 'the read models do not get on; trying again');
  const onBegunAnew = (why: string): void =>
    log.warn({ why }, 'the read models are of another event log; they are built anew from the first event of this one');
  const read = observability.readBy('read-model', stores);
  const { batches } = observability;
  const readModel = await startReadModel({ ...read, onProblem, onBegunAnew, batches }, stop.signal);
  const audit = createHubAudit({
    store: stores.store,
    storageNode: config.nodeName,
    log: log.child({ part: 'audit' }),
    failed: observability.countAuditFailure,
  });
  const background = startBackground(
    {
      ...{ stores: observability.readBy('process-managers', stores), services, readModel, config, log },
      ...{ steps: observability.steps, sweeps: observability.sweeps, writeAuditAnchors: audit.writeAnchors },
    },
    hubStartedAt,
    stop.signal,
  );
  const { openExports } = services;
  observability.addParts({ stores, readModel, background, audit, openExports, startedAt: hubStartedAt });
  cleanup.add(async () => {
    stop.abort();
    await Promise.all([background.done, readModel.runner.done]);
  });

  cleanup.add(audit.close);

  const passwords = createPasswordStore(stores.database.vault, clock.now);
  const { adminPassword: configured } = config.auth;
  await ensureAdminPassword({ ...(configured ? { configured } : {}), store: passwords, announce: announcePassword });
  const db = stores.database.readModel;
  const sessionStore = createSessionStore({ store: stores.store, clock, db, settled: readModel.settled });
  const sessions = createSessions({ store: sessionStore, clock, ttlSeconds: config.auth.sessionTtlSeconds });
  const operator = await issueOperatorToken(config.dataDir);
  cleanup.add(operator.withdraw);
  const moments = createMoments<Past>();
  cleanup.add(moments.close);
  const parts: EndpointDeps = {
    ...{ stores, services, readModel, version, log, moments, audit },
    auth: {
      ...{ sessions, passwords },
      appliances: { sha256Of: async (id) => config.auth.applianceTokenHashes.get(id) },
      audit: (attempt) => {
        observability.countLogin(attempt);
        log.info(attempt, 'login');
      },
    },
    health: createHealth({ stores, readModel, config, clock, processManagers: background.status, audit: audit.status }),
    jobFeed: createJobFeed(observability.readBy('clients', stores).feed),
  };
  const endpoints = createEndpoints(parts);
  const authenticate = createAuthenticate({
    enabled: config.auth.required,
    loopbackCallbacks: config.auth.machineCallbacks,
    ...{ sessions, staticTokens: config.auth.apiTokenHashes, operatorTokenSha256: operator.sha256 },
    cors: config.http.corsOrigins,
  });
  const app = createApp({
    ...{ endpoints, authenticate },
    log: log.child({ part: 'http' }),
    cors: config.http.corsOrigins,
    ...{ audit: audit.trail, dryRun: createDryRun(parts), observers: observability.requests },
    pages: [
      observability.page(authenticate),
      apiDocsPages(async () => (await import('#http/openapi.ts')).renderOpenApi(endpoints, version)),
    ],
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
