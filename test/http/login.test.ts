import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, type TestContext, test } from 'node:test';
import { z } from 'zod';
import { ensureAdminPassword } from '#http/admin-password.ts';
import { createAuthenticate } from '#http/auth.ts';
import type { LoginAttempt, PasswordStore } from '#http/auth-ports.ts';
import { hashPassword, verifyPassword } from '#http/password.ts';
import { resource } from '#http/route.ts';
import { authEndpoints } from '#http/routes/auth.ts';
import { post, serveApp, sessionsFor } from './support.ts';

const memoryPasswords = (hash?: string): PasswordStore & { hash: string | undefined } => ({
  hash,
  async adminHash() {
    return this.hash;
  },
  async addAdminHash(added) {
    if (this.hash !== undefined) return false;
    this.hash = added;
    return true;
  },
  async replaceAdminHash(replaced) {
    this.hash = replaced;
  },
});

const adminHash = await hashPassword('right horse');
const applianceToken = 'issued-to-sna-1';

const whoAmI = resource({ tag: 'Doors', group: 'E1' }).endpoint('GET /me', {
  summary: 'Tells who calls',
  reply: z.object({ actor: z.string() }),
  handle: async ({ actor }) => ({ actor }),
});

const serveLogin = async (t: TestContext) => {
  const sessions = sessionsFor();
  const attempts: LoginAttempt[] = [];
  const appliances = new Map([['sna-1', createHash('sha256').update(applianceToken).digest('hex')]]);
  const endpoints = authEndpoints({
    sessions,
    passwords: memoryPasswords(adminHash),
    appliances: { sha256Of: async (id) => appliances.get(id) },
    audit: (attempt) => attempts.push(attempt),
  });
  const auth = { enabled: true, loopbackCallbacks: false, sessions, staticTokens: [], cors: [] };
  const { url, lines } = await serveApp(t, {
    endpoints: [...endpoints, whoAmI],
    authenticate: createAuthenticate(auth),
  });
  const login = async (body: unknown, headers: Record<string, string> = {}) => {
    const reply = await fetch(`${url}/api/v1/auth/login`, post(body, headers));
    return { status: reply.status, headers: reply.headers, body: (await reply.json()) as Record<string, string> };
  };
  const me = async (token: string) => {
    const reply = await fetch(`${url}/api/v1/me`, { headers: { authorization: `Bearer ${token}` } });
    return reply.status === 200 ? ((await reply.json()) as { actor: string }).actor : reply.status;
  };
  return { url, lines, login, me, attempts };
};

const right = { username: 'admin', password: 'right horse' };
const wrong = { ...right, password: 'wrong' };

describe('a login', () => {
  test('of a person gives a token that opens the doors until the logout', async (t) => {
    const { url, login, me } = await serveLogin(t);
    const { status, body } = await login(right);
    assert.equal(status, 200);
    const { session_token: token = '', ...rest } = body;
    assert.deepEqual(rest, { success: true, expires_at: '2026-01-02T04:04:05.000Z' });
    assert.equal(await me(token), 'user:admin');
    const logout = await fetch(`${url}/api/v1/auth/logout`, {
      ...post({}),
      headers: { authorization: `Bearer ${token}` },
    });
    assert.deepEqual([logout.status, await logout.json()], [200, { success: true, message: 'Logged out' }]);
    assert.equal(await me(token), 401);
  });

  test('of an appliance gives a token of its own', async (t) => {
    const { login, me } = await serveLogin(t);
    const { status, body } = await login({ appliance_id: 'sna-1', token: applianceToken, version: '1.0' });
    assert.equal(status, 200);
    assert.equal(await me(body.session_token ?? ''), 'node:sna-1');
  });

  test('with anything wrong is refused in one way', async (t) => {
    const { login } = await serveLogin(t);
    const sna = { appliance_id: 'sna-1', token: applianceToken, version: '1.0' };
    for (const body of [
      wrong,
      { ...right, username: 'root' },
      { ...sna, token: 'other' },
      { ...sna, appliance_id: 'sna-2' },
    ]) {
      const refused = await login(body);
      assert.equal(refused.status, 401);
      assert.deepEqual(refused.body, {
        success: false,
        session_token: '',
        expires_at: '0001-01-01T00:00:00Z',
        error_message: 'Invalid credentials',
      });
    }
  });

  test('that is incomplete or no JSON is a bad request', async (t) => {
    const { login } = await serveLogin(t);
    const incomplete = await login({ appliance_id: 'sna-1', token: applianceToken });
    assert.deepEqual([incomplete.status, incomplete.body.error], [400, 'Invalid request payload']);
    assert.equal((await login('{')).status, 400);
    assert.equal((await login({ ...right, password: 'x'.repeat(20_000) })).status, 413);
  });

  test('is audited without what may be a secret', async (t) => {
    const { login, attempts, lines } = await serveLogin(t);
    await login(right, { 'x-request-id': 'r-1' });
    await login({ username: 'my password', password: 'admin' }, { 'x-request-id': 'r-2' });
    await login(wrong, { 'x-request-id': 'r-3' });
    const address = '127.0.0.1';
    assert.deepEqual(attempts, [
      { outcome: 'succeeded', subject: 'user:admin', address, requestId: 'r-1' },
      { outcome: 'failed', subject: 'unknown', address, requestId: 'r-2' },
      { outcome: 'failed', subject: 'user:admin', address, requestId: 'r-3' },
    ]);
    assert.doesNotMatch(JSON.stringify(lines), /password|horse|sess_/);
  });

  test('is no longer looked at after ten failures in a minute, successes not counted', async (t) => {
    const { login, attempts } = await serveLogin(t);
    for (let i = 0; i < 3; i += 1) assert.equal((await login(right)).status, 200);
    for (let i = 0; i < 10; i += 1) assert.equal((await login({ ...right, username: `user ${i}` })).status, 401);
    const { status, headers, body } = await login(right, { 'x-forwarded-for': '203.0.113.9' });
    assert.equal(status, 429);
    assert.ok(Number(headers.get('retry-after')) > 0);
    assert.equal(body.error, 'Too many failed logins; try again in a minute');
    assert.equal(attempts.length, 13);
  });
});

describe('a password', () => {
  test('is verified against its hash alone, whose parameters it carries', async () => {
    assert.match(adminHash, /^\$argon2id\$v=19\$m=19456,t=2,p=1\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}$/);
    assert.equal(await verifyPassword('right horse', adminHash), true);
    assert.equal(await verifyPassword('right horse ', adminHash), false);
    assert.equal(await verifyPassword('', adminHash), false);
    assert.notEqual(await hashPassword('right horse'), adminHash);
  });

  test('is the same in each Unicode form', async () => {
    assert.equal(await verifyPassword('e\u0301t\u00e9', await hashPassword('\u00e9te\u0301')), true);
  });

  test('fits the argon2id of others', async () => {
    // From the reference implementation: echo -n password | argon2 somesalt -id -t 2 -k 256 -p 1 -l 32 -e
    const reference = '$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4';
    assert.equal(await verifyPassword('password', reference), true);
  });

  test('fits no hash of another form', async () => {
    for (const hash of ['', 'right horse', adminHash.replace('argon2id', 'argon2i'), `${adminHash}A`])
      assert.equal(await verifyPassword('right horse', hash), false);
  });
});

describe('the administrator’s password', () => {
  const start = async (store: PasswordStore, configured?: string): Promise<readonly string[]> => {
    const announced: string[] = [];
    const announce = (password: string): void => {
      announced.push(password);
    };
    await ensureAdminPassword({ store, announce, ...(configured === undefined ? {} : { configured }) });
    return announced;
  };

  test('is made up on the first start, shown once and kept as a hash', async () => {
    const store = memoryPasswords();
    const [password = '', ...more] = await start(store);
    assert.deepEqual(more, []);
    assert.ok(password.length >= 20);
    assert.doesNotMatch(store.hash ?? '', new RegExp(password));
    assert.equal(await verifyPassword(password, store.hash ?? ''), true);
    assert.deepEqual(await start(store), []);
    assert.equal(await verifyPassword(password, store.hash ?? ''), true);
  });

  test('is not shown by the hub that lost the race of two first starts', async () => {
    const store = memoryPasswords();
    const shown = (await Promise.all([start(store), start(store)])).flat();
    assert.equal(shown.length, 1);
    assert.equal(await verifyPassword(shown[0] ?? '', store.hash ?? ''), true);
  });

  test('from the settings replaces what was kept, and leaves it alone when it is the same', async () => {
    const store = memoryPasswords(adminHash);
    assert.deepEqual(await start(store, 'right horse'), []);
    assert.equal(store.hash, adminHash);
    assert.deepEqual(await start(store, 'another horse'), []);
    assert.equal(await verifyPassword('another horse', store.hash ?? ''), true);
    const fresh = memoryPasswords();
    assert.deepEqual(await start(fresh, 'right horse'), []);
    assert.equal(await verifyPassword('right horse', fresh.hash ?? ''), true);
  });
});
