import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { createAuthenticate } from '#http/auth.ts';
import { type HealthReport, type HealthSource, healthEndpoints } from '#http/routes/health.ts';
import { manualClock, memoryLog, serveApp, sessionsFor } from './support.ts';

const well: HealthReport = {
  eventStore: { connected: true, kind: 'embedded' },
  database: { connected: true, kind: 'external' },
  projections: [{ name: 'backup-list.v1', running: true, lagEvents: 3, lagSeconds: 0.5, parkedStreams: 0 }],
  processManagers: [{ name: 'backup-runner', running: true, openJobs: 2 }],
};

const ask = async (t: TestContext, health: HealthSource, timeoutMs = 2_000) => {
  const { log } = memoryLog();
  const endpoints = healthEndpoints({ health, clock: manualClock(), version: '1.2.3', log, timeoutMs });
  const auth = { enabled: true, loopbackCallbacks: true, sessions: sessionsFor(), staticTokens: [], cors: [] };
  const { url } = await serveApp(t, { endpoints, authenticate: createAuthenticate(auth) });
  const reply = await fetch(`${url}/health`);
  return { status: reply.status, body: (await reply.json()) as Record<string, unknown> };
};

describe('the health of the hub', () => {
  test('is told to everybody, with what each part is doing', async (t) => {
    const { status, body } = await ask(t, { report: async () => well });
    assert.equal(status, 200);
    assert.deepEqual(body, {
      service: 'SHA API',
      status: 'healthy',
      timestamp: '2026-01-02T03:04:05.000Z',
      version: '1.2.3',
      database: 'connected',
      event_store: { status: 'connected', kind: 'embedded' },
      read_database: { status: 'connected', kind: 'external' },
      projections: [{ name: 'backup-list.v1', running: true, lag_events: 3, lag_seconds: 0.5, parked_streams: 0 }],
      process_managers: [{ name: 'backup-runner', running: true, open_jobs: 2 }],
    });
  });

  test('is degraded while a read model has parked streams, which is no reason to go elsewhere', async (t) => {
    const projections = [{ name: 'backups.v1', running: true, lagEvents: 0, lagSeconds: 0, parkedStreams: 2 }];
    const { status, body } = await ask(t, { report: async () => ({ ...well, projections }) });
    assert.deepEqual([status, body.status, body.database], [200, 'degraded', 'connected']);
    assert.deepEqual((body.projections as unknown[])[0], {
      ...{ name: 'backups.v1', running: true, lag_events: 0, lag_seconds: 0, parked_streams: 2 },
    });
  });

  test('is degraded when either store is away, and tells which', async (t) => {
    const eventStore = { connected: false, kind: 'embedded' } as const;
    const { status, body } = await ask(t, { report: async () => ({ ...well, eventStore }) });
    assert.deepEqual([status, body.status, body.database], [503, 'degraded', 'disconnected']);
    assert.deepEqual(body.event_store, { status: 'disconnected', kind: 'embedded' });
    assert.deepEqual(body.read_database, { status: 'connected', kind: 'external' });
    const database = { connected: false, kind: 'external' } as const;
    assert.equal((await ask(t, { report: async () => ({ ...well, database }) })).status, 503);
  });

  test('is degraded when nothing can be told in time, however deaf the source', async (t) => {
    const { promise: never, resolve: end } = Promise.withResolvers<HealthReport>();
    t.after(() => end(well));
    let asked: AbortSignal | undefined;
    const report = (signal: AbortSignal): Promise<HealthReport> => {
      asked = signal;
      return never;
    };
    const { status, body } = await ask(t, { report }, 30);
    assert.deepEqual([status, body.status], [503, 'degraded']);
    assert.equal(asked?.aborted, true);
  });

  test('is degraded when the source fails, and does not say why to everybody', async (t) => {
    const report = async (): Promise<HealthReport> => {
      throw new Error('no route to db.internal');
    };
    const { status, body } = await ask(t, { report });
    assert.equal(status, 503);
    assert.doesNotMatch(JSON.stringify(body), /internal/);
  });
});
