import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { DomainError } from '#domain/errors.ts';
import { type ProjectionRoutesDeps, readModelEndpoints } from '#http/routes/projections.ts';
import type { FollowedLog } from '#projections/followed-log.ts';
import type { ParkedStream } from '#projections/parked-streams.ts';
import type { RebuildProgress } from '#projections/rebuild-record.ts';
import { openDoor, serveApp } from '../support.ts';

const rebuild: RebuildProgress = {
  ...{ id: 'r-1', state: 'running', projections: ['backups.v1'], requestedBy: 'user:admin', error: null },
  ...{ startedAt: '2026-11-22T02:16:05.000Z', endedAt: null },
  ...{ eventsDone: 500, eventsTotal: 2_000, ratePerSecond: 250, secondsLeft: 6 },
};

const held: ParkedStream = {
  ...{ projection: 'backups.v1', stream: 'backup-a%20b', revision: 3, position: '18446744073709551615' },
  ...{ eventId: 'e-1', eventType: 'DiskTransferred', error: 'null value (SQLSTATE 23502)', attempts: 1, waiting: 4 },
  ...{ recordedAt: '2026-11-22T02:16:05.000Z', parkedAt: '2026-11-22T02:17:05.000Z' },
};

const serve = async (t: TestContext, over: Partial<ProjectionRoutesDeps> = {}) => {
  const decided: unknown[] = [];
  const deps: ProjectionRoutesDeps = {
    projections: [{ name: 'backups.v1', tables: ['backup_jobs'] }],
    status: async () => ({ position: 7n, head: 9n, problem: null, log: undefined }),
    parked: {
      list: async () => [held],
      find: async (_projection, stream) => (decided.length === 0 || stream !== held.stream ? held : undefined),
      counts: async () => new Map([['backups.v1', 1]]),
    },
    rebuilds: {
      start: async (name) => ({ ...rebuild, projections: [name] }),
      progress: async () => rebuild,
      cancel: async () => undefined,
      check: async () => [],
    },
    retry: async (place) => {
      decided.push(place);
      return { position: 12n };
    },
    skip: async (place, reason) => {
      decided.push([place, reason]);
      return { position: 12n };
    },
    settled: async () => ({}),
    ...over,
  };
  const { url } = await serveApp(t, { endpoints: readModelEndpoints(deps), authenticate: openDoor });
  const call = async (route: string, body?: object) => {
    const [method = 'GET', path = ''] = route.split(' ');
    const headers = { 'content-type': 'application/json' };
    const sent = body ? { body: JSON.stringify(body), headers } : {};
    const reply = await fetch(`${url}/api/v1/admin/projections${path}`, { method, ...sent });
    const text = await reply.text();
    return { status: reply.status, text };
  };
  return { call, decided };
};

describe('the read models’ endpoints', () => {
  test('tell which log the tables are of, and why they were begun anew for it', async (t) => {
    const logOf = async (log: FollowedLog | undefined) => {
      const { call } = await serve(t, { status: async () => ({ position: 7n, head: 9n, problem: null, log }) });
      return (JSON.parse((await call('GET ')).text) as { log: unknown }).log;
    };
    const log = { id: 'log-1', since: '2026-11-22T02:16:05.000Z', reason: 'this log ends at position 9', marks: [] };
    assert.deepEqual(
      [await logOf(undefined), await logOf(log)],
      [null, { followed_since: '2026-11-22T02:16:05.000Z', begun_anew_because: 'this log ends at position 9' }],
    );
  });

  test('begin a rebuild, tell how it gets on, and refuse a second one', async (t) => {
    const { call } = await serve(t);
    const begun = await call('POST /backups.v1/rebuild');
    assert.equal(begun.status, 202);
    assert.deepEqual(JSON.parse(begun.text), {
      ...{ id: 'r-1', state: 'running', projections: ['backups.v1'], requested_by: 'user:admin', error: null },
      ...{ started_at: '2026-11-22T02:16:05.000Z', ended_at: null },
      ...{ events_done: 500, events_total: 2_000, events_per_second: 250, seconds_left: 6 },
    });
    assert.match((await call('GET /all/rebuild')).text, /"seconds_left":6/);
    const { call: again } = await serve(t, {
      rebuilds: {
        start: () => Promise.reject(new DomainError('rebuild-running', 'wait')),
        progress: async () => undefined,
        cancel: () => Promise.reject(new DomainError('rebuild-not-running', 'none')),
        check: () => Promise.reject(new DomainError('projection-not-found', 'there is no read model "x"')),
      },
    });
    assert.equal((await again('POST /all/rebuild')).status, 409);
    assert.equal((await again('DELETE /all/rebuild')).status, 409);
    assert.deepEqual(JSON.parse((await again('GET /all/rebuild')).text), { rebuild: null });
    const lines = (await again('POST /x/check')).text.trim().split('\n');
    assert.deepEqual(JSON.parse(lines.at(-1) ?? ''), { state: 'failed', error: 'there is no read model "x"' });
  });

  test('show what is parked, without losing a position or a stream’s name', async (t) => {
    const { call } = await serve(t);
    const { parked, count } = JSON.parse((await call('GET /all/parked')).text);
    assert.deepEqual(
      [count, parked[0].stream, parked[0].position, parked[0].waiting],
      [1, 'backup-a%20b', '18446744073709551615', 4],
    );
    assert.match((await call('GET ')).text, /"parked_streams":1/);
    assert.equal((await call('GET /nobody.v1/parked')).status, 404);
  });

  test('take decisions about a stream, a skip with its reason only', async (t) => {
    const { call, decided } = await serve(t);
    const stream = encodeURIComponent(held.stream);
    const retried = await call(`POST /backups.v1/parked/${stream}/retry`);
    assert.deepEqual(JSON.parse(retried.text), { applied: true, parked: null });
    assert.equal((await call(`POST /backups.v1/parked/${stream}/skip`, { reason: '  ' })).status, 400);
    assert.equal((await call(`POST /backups.v1/parked/${stream}/skip`, { reason: 'broken' })).status, 200);
    assert.equal((await call(`POST /all/parked/${stream}/retry`)).status, 404);
    const place = { projection: 'backups.v1', stream: held.stream };
    assert.deepEqual(decided, [place, [place, 'broken']]);
  });
});
