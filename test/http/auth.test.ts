import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, type TestContext, test } from 'node:test';
import type { Request } from 'express';
import { z } from 'zod';
import { type AuthDeps, createAuthenticate } from '#http/auth.ts';
import { HttpProblem } from '#http/errors.ts';
import { type Access, type Endpoint, resource } from '#http/route.ts';
import { createSessions } from '#http/sessions.ts';
import { manualClock, memorySessions, rawRequest, serveApp, sessionsFor } from './support.ts';

const withAccess = (path: string, auth: Access, group: 'E1' | 'E2' | 'group02' = 'E1'): Endpoint =>
  resource({ tag: 'Doors', group }).endpoint(`GET ${path}`, {
    summary: 'Tells who calls',
    auth,
    reply: z.object({ actor: z.string() }),
    handle: async ({ actor }) => ({ actor }),
  });

const doors = [
  withAccess('/required', 'required'),
  withAccess('/public', 'public'),
  withAccess('/callback', 'loopback-callback'),
  withAccess('/repositories', 'required', 'E2'),
  withAccess('/vms', 'required', 'group02'),
];

/** What a session is opened or closed for; stores in memory do not ask. */
const byRequest = { actor: 'anonymous', correlationId: 'request-1', commandId: 'command-1' };

const staticToken = 'operator-made-token';
const staticHash = createHash('sha256').update(staticToken).digest('hex');

const serveDoors = async (t: TestContext, deps: Partial<AuthDeps> = {}, host?: string) => {
  const sessions = sessionsFor();
  const authenticate = createAuthenticate({
    enabled: true,
    loopbackCallbacks: true,
    sessions,
    staticTokens: [staticHash],
    cors: [],
    ...deps,
  });
  const { url, lines } = await serveApp(t, { endpoints: doors, authenticate }, host);
  const { token } = await sessions.open('user:admin', byRequest);
  const enter = async (door: string, headers: Record<string, string> = {}) => {
    const reply = await fetch(`${url}/api/v1/${door}`, { headers });
    return { status: reply.status, headers: reply.headers, body: (await reply.json()) as Record<string, unknown> };
  };
  return { url, lines, token, enter, bearer: (value: string) => ({ authorization: `Bearer ${value}` }) };
};

describe('a door that needs a token', () => {
  test('opens for a session’s and for an operator’s token, and knows whose it is', async (t) => {
    const { enter, bearer, token } = await serveDoors(t);
    assert.deepEqual((await enter('required', bearer(token))).body, { actor: 'user:admin' });
    assert.deepEqual((await enter('required', { authorization: `bearer ${token}` })).body, { actor: 'user:admin' });
    assert.deepEqual((await enter('required', bearer(staticToken))).body, { actor: `token:${staticHash.slice(0, 8)}` });
  });

  test('stays shut without one, with another scheme, and with a wrong one, each in the contract’s words', async (t) => {
    const { enter, bearer, token } = await serveDoors(t);
    for (const [headers, error] of [
      [{}, 'Missing authorization header'],
      [{ authorization: '' }, 'Invalid authorization format'],
      [{ authorization: `Basic ${token}` }, 'Invalid authorization format'],
      [{ authorization: 'Bearer' }, 'Invalid authorization format'],
      [{ authorization: token }, 'Invalid authorization format'],
      [bearer(`${token}x`), 'Invalid or expired token'],
      [bearer(`sess_${'A'.repeat(43)}`), 'Invalid or expired token'],
      [bearer(staticHash), 'Invalid or expired token'],
    ] as const) {
      const { status, headers: sent, body } = await enter('required', headers);
      assert.deepEqual([status, sent.get('www-authenticate')], [401, 'Bearer'], JSON.stringify(headers));
      const { timestamp, ...rest } = body;
      assert.deepEqual(rest, { error, details: '' });
      assert.match(String(timestamp), /Z$/);
    }
  });

  test('says 401 in the common shape under repositories, and with a message where clients read that', async (t) => {
    const { enter } = await serveDoors(t);
    assert.deepEqual(Object.keys((await enter('repositories')).body), ['error', 'details', 'timestamp']);
    assert.equal((await enter('vms')).body.message, 'Missing authorization header');
  });

  test('stays shut for loopback, and tokens do not reach the log', async (t) => {
    const { enter, bearer, token, lines } = await serveDoors(t);
    await enter('required', bearer(token));
    assert.equal((await enter('required', { 'x-forwarded-for': '127.0.0.1' })).status, 401);
    assert.doesNotMatch(JSON.stringify(lines), new RegExp(token));
  });
});

test('a public door asks nobody', async (t) => {
  const { enter, bearer } = await serveDoors(t);
  assert.deepEqual((await enter('public')).body, { actor: 'anonymous' });
  assert.equal((await enter('public', bearer('wrong'))).status, 200);
});

describe('a callback', () => {
  test('of a program on this host needs no token', async (t) => {
    const { enter } = await serveDoors(t);
    assert.deepEqual((await enter('callback')).body, { actor: 'node:127.0.0.1' });
    assert.equal((await enter('callback', { 'x-forwarded-for': '203.0.113.9' })).status, 200);
  });

  test('with a token needs a good one', async (t) => {
    const { enter, bearer, token } = await serveDoors(t);
    assert.deepEqual((await enter('callback', bearer(token))).body, { actor: 'user:admin' });
    assert.equal((await enter('callback', bearer('wrong'))).status, 401);
    assert.equal((await enter('callback', { authorization: '' })).status, 401);
  });

  test('from a web page in a browser on this host needs a token', async (t) => {
    const { enter, bearer, token } = await serveDoors(t, { cors: ['*'] });
    assert.equal((await enter('callback', { origin: 'http://evil.example' })).status, 401);
    assert.equal((await enter('callback', { origin: 'http://evil.example', ...bearer(token) })).status, 200);
  });

  test('needs a token when the exemption is off', async (t) => {
    const { enter } = await serveDoors(t, { loopbackCallbacks: false });
    assert.equal((await enter('callback')).status, 401);
  });

  test('from another host needs a token, whatever it says about where it comes from', async () => {
    const deps = { enabled: true, loopbackCallbacks: true, sessions: sessionsFor(), staticTokens: [], cors: [] };
    const call = (remoteAddress: string | undefined): Promise<string> => {
      const get = (name: string) => (name === 'x-forwarded-for' ? '127.0.0.1' : undefined);
      return createAuthenticate(deps)({ socket: { remoteAddress }, get } as Request, 'loopback-callback');
    };
    for (const address of ['127.0.0.1', '127.8.8.8', '::1', '::ffff:127.0.0.1'])
      assert.match(await call(address), /^node:/);
    for (const address of ['203.0.113.9', '::ffff:203.0.113.9', '2001:db8::1', '10.0.0.1', undefined])
      await assert.rejects(call(address), HttpProblem, address);
  });

  test('that comes in over the IPv4 loopback of a dual-stack listener is from this host', async (t) => {
    const { url } = await serveDoors(t, {}, '::');
    const reply = await fetch(`http://127.0.0.1:${new URL(url).port}/api/v1/callback`);
    assert.deepEqual(await reply.json(), { actor: 'node:127.0.0.1' });
  });
});

describe('with authentication off', () => {
  test('everybody may come in, with any token or none', async (t) => {
    const { enter, bearer } = await serveDoors(t, { enabled: false });
    for (const door of ['required', 'callback']) {
      assert.deepEqual((await enter(door, bearer('whatever'))).body, { actor: 'user:anonymous' });
    }
  });

  test('pages of other origins may not, unless they are listed', async (t) => {
    const { enter, url } = await serveDoors(t, { enabled: false, cors: ['http://console.example'] });
    assert.equal((await enter('required', { origin: 'http://evil.example' })).status, 403);
    assert.equal((await enter('required', { origin: 'null' })).status, 403);
    assert.equal((await enter('required', { origin: 'http://console.example' })).status, 200);
    assert.equal((await enter('required', { origin: url })).status, 200);
  });

  test('a foreign name that was made to resolve to this host does not count as its own', async (t) => {
    const { url } = await serveDoors(t, { enabled: false, cors: ['http://console.example'] });
    const sentTo = async (host: string) =>
      (await rawRequest(url, { path: '/api/v1/required', headers: { host } })).status;
    assert.equal(await sentTo('evil.example'), 403);
    assert.equal(await sentTo('evil.example:8082'), 403);
    for (const host of ['localhost:8082', '127.0.0.1', '[::1]:8082', 'console.example:8082'])
      assert.equal(await sentTo(host), 200, host);
  });
});

describe('sessions', () => {
  const hour = 3_600_000;

  test('get different tokens, of which the store knows the hash alone', async () => {
    const { store, open } = memorySessions();
    const sessions = createSessions({ store, clock: manualClock(), ttlSeconds: 3_600 });
    const [a, b] = [await sessions.open('user:admin', byRequest), await sessions.open('user:admin', byRequest)];
    assert.match(a.token, /^sess_[A-Za-z0-9_-]{43}$/);
    assert.notEqual(a.token, b.token);
    assert.equal(a.expiresAt, '2026-01-02T04:04:05.000Z');
    assert.deepEqual([...open.keys()][0], createHash('sha256').update(a.token).digest('hex'));
    assert.doesNotMatch(JSON.stringify([...open]), /sess_/);
  });

  test('survive a restart of the hub, and end in time', async () => {
    const { store } = memorySessions();
    const clock = manualClock();
    const { token } = await createSessions({ store, clock, ttlSeconds: 3_600 }).open('node:sna-1', byRequest);
    const restarted = createSessions({ store, clock, ttlSeconds: 3_600 });
    assert.equal(await restarted.subjectOf(token), 'node:sna-1');
    clock.advance(hour - 1);
    assert.equal(await restarted.subjectOf(token), 'node:sna-1');
    clock.advance(1);
    assert.equal(await restarted.subjectOf(token), undefined);
  });

  test('are looked up once in 30 seconds', async () => {
    const { store, finds } = memorySessions();
    const clock = manualClock();
    const { token } = await createSessions({ store, clock, ttlSeconds: 3_600 }).open('user:admin', byRequest);
    const sessions = createSessions({ store, clock, ttlSeconds: 3_600 });
    for (let i = 0; i < 5; i += 1) await sessions.subjectOf(token);
    assert.equal(finds(), 1);
    clock.advance(30_000);
    await sessions.subjectOf(token);
    assert.equal(finds(), 2);
  });

  test('that end in the cached half minute end all the same', async () => {
    const clock = manualClock();
    const sessions = createSessions({ store: memorySessions().store, clock, ttlSeconds: 10 });
    const { token } = await sessions.open('user:admin', byRequest);
    assert.equal(await sessions.subjectOf(token), 'user:admin');
    clock.advance(10_000);
    assert.equal(await sessions.subjectOf(token), undefined);
  });

  test('that are closed let nobody in any more', async () => {
    const sessions = sessionsFor();
    const { token } = await sessions.open('user:admin', byRequest);
    await sessions.close(token, byRequest);
    assert.equal(await sessions.subjectOf(token), undefined);
  });

  test('beyond a thousand push the oldest out of the cache, not out of the store', async () => {
    const { store, finds } = memorySessions();
    const sessions = createSessions({ store, clock: manualClock(), ttlSeconds: 3_600 });
    const { token: oldest } = await sessions.open('user:admin', byRequest);
    for (let i = 0; i < 1_000; i += 1) await sessions.open('user:admin', byRequest);
    assert.equal(await sessions.subjectOf(oldest), 'user:admin');
    assert.equal(finds(), 1);
  });
});
