import type { Router } from 'express';
import type { Logger } from 'pino';
import type { OpenExports } from '#commands/open-exports.ts';
import { mountSlotCount } from '#domain/mount-slots/mount-slots.ts';
import type { LoginAttempt } from '#http/auth-ports.ts';
import { metricsPage, noMetricsPage } from '#http/routes/metrics.ts';
import type { Authenticate } from '#http/serve.ts';
import type { Config } from '#infra/config.ts';
import { auditMetrics } from '#infra/metrics/audit-metrics.ts';
import { backupMetrics } from '#infra/metrics/backup-metrics.ts';
import { addDataDirMetrics, addEmbeddedStoreMetrics } from '#infra/metrics/disk-metrics.ts';
import { batchMetrics, eventStoreMetrics, feedMetrics } from '#infra/metrics/event-store-metrics.ts';
import { httpMetrics } from '#infra/metrics/http-metrics.ts';
import { addMountMetrics } from '#infra/metrics/mount-metrics.ts';
import { addReadModelMetrics } from '#infra/metrics/read-model-metrics.ts';
import { createMetrics, type Metrics } from '#infra/metrics/registry.ts';
import { addLogMetrics, addParkedMetrics, addProcessManagerMetrics } from '#infra/metrics/status-metrics.ts';
import { stepMetrics } from '#infra/metrics/step-metrics.ts';
import { sweepMetrics } from '#infra/metrics/sweep-metrics.ts';
import { addDiskRestoreMetrics, addExportMetrics } from '#infra/metrics/whole-disk-metrics.ts';
import { diskRestoreQueries } from '#projections/disk-restores.ts';
import { parkedStreamQueries } from '#projections/parked-streams.ts';
import { restoreMountQueries } from '#projections/restore-mounts.ts';
import type { HubAudit } from './audit.ts';
import type { Background } from './background.ts';
import { type LiveReadModel, projections } from './read-model.ts';
import type { Stores } from './stores.ts';
import type { Watcher } from './watcher.ts';

/** What the numbers are read from, once it runs. */
export type RunningParts = Readonly<{
  stores: Stores;
  readModel: LiveReadModel;
  background: Pick<Background, 'status'>;
  audit: Pick<HubAudit, 'status'>;
  openExports: OpenExports;
  startedAt: string;
}>;

type Deps = Readonly<{ config: Config; version: string; log: Logger }>;

const watcherOf = (metrics: Metrics): Watcher => ({
  requests: httpMetrics(metrics),
  eventStore: eventStoreMetrics(metrics),
  batches: batchMetrics(metrics),
  steps: stepMetrics(metrics),
});

const loginCounter = (metrics: Metrics): ((attempt: LoginAttempt) => void) => {
  const logins = metrics.counter({
    name: 'sendense_logins_total',
    help: 'Attempts to log in',
    labels: ['outcome'],
  });
  for (const outcome of ['succeeded', 'failed']) logins.inc({ outcome }, 0);
  return ({ outcome }) => logins.inc({ outcome });
};

const addParts = (metrics: Metrics, { config, log }: Pick<Deps, 'config' | 'log'>, parts: RunningParts): void => {
  const { stores, readModel, background, openExports, startedAt } = parts;
  const db = stores.database.readModel;
  const portCapacity = config.nbd.lastPort - config.nbd.firstPort + 1;
  addReadModelMetrics(metrics, { db, storageNode: config.nodeName, portCapacity });
  addLogMetrics(metrics, {
    head: (signal) => stores.feed.head(signal),
    projections: () => {
      const { position, problem, appliedEventAt } = readModel.runner.status();
      return { names: projections.map(({ name }) => name), running: problem === null, position, appliedEventAt };
    },
  });
  addParkedMetrics(metrics, parkedStreamQueries(db, projections).counts);
  addProcessManagerMetrics(metrics, background.status);
  addMountMetrics(metrics, restoreMountQueries(db).counts, mountSlotCount);
  addDiskRestoreMetrics(metrics, diskRestoreQueries(db).counts);
  addExportMetrics(metrics, openExports);
  addDataDirMetrics(metrics, config.dataDir);
  if (config.eventStore.kind === 'embedded') addEmbeddedStoreMetrics(metrics, config.eventStore.dataDir);
  const backups = backupMetrics(metrics, db, startedAt);
  readModel.applied.subscribe((event) => {
    backups.take(event).catch((err: unknown) => log.warn({ err }, 'the end of a backup is not counted'));
  });
};

/** The hub's numbers and their page. */
export const createHubMetrics = ({ config, version, log }: Deps) => {
  const metrics = createMetrics({ version, log });
  const audit = auditMetrics(metrics);
  return {
    /** For parts with numbers of their own: counters at once, and sources that are asked at each scrape. */
    metrics,
    watcher: watcherOf(metrics),
    feed: feedMetrics(metrics),
    countLogin: loginCounter(metrics),
    countAuditFailure: audit.countFailure,
    sweeps: sweepMetrics(metrics),
    addParts: (parts: RunningParts): void => {
      audit.addStatus(parts.audit.status);
      addParts(metrics, { config, log }, parts);
    },
    page: (authenticate: Authenticate): Router => {
      const { metrics: access } = config.observability;
      if (access === 'off') return noMetricsPage();
      return metricsPage({ metrics, access, authenticate, cors: config.http.corsOrigins });
    },
  };
};
