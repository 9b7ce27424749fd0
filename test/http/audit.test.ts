import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, type TestContext, test } from 'node:test';
import { z } from 'zod';
import type { AuditEntry } from '#domain/audit/entry.ts';
import { DomainError } from '#domain/errors.ts';
import { createAuthenticate } from '#http/auth.ts';
import { answer, resource } from '#http/route.ts';
import { post, serveApp, sessionsFor } from './support.ts';

const { endpoint } = resource({ tag: 'Things', group: 'E1' });
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const token = 'operators-own-token';
const authorized = { authorization: `Bearer ${token}` };

const appended = {
  ...{ stream: 'thing-1', types: ['ThingMade'], ids: ['5b0c2f5e-6a0c-8b0e-8a52-1c1df1f3a001'] },
  ...{ revision: 3n, position: 4711n },
};

const makeThing = (before: () => Promise<void> = async () => undefined) =>
  endpoint('POST /things', {
    summary: 'Makes a thing',
    body: z.object({ name: z.string().min(1), password: z.string().optional() }),
    reply: z.object({ id: z.string() }),
    audit: { action: 'MakeThing', object: 'thing', id: ['reply.id', 'body.name'], facts: ['name', 'size'] },
    errors: ['name-taken'],
    handle: async ({ body, context, accepted }) => {
      if (body.name === 'taken') throw new DomainError('name-taken', '"taken" is in use');
      if (body.name === 'broken') throw new Error(`cannot connect with password ${body.password}`);
      context('thing-1').onAppended?.(appended);
      if (body.name.startsWith('slow')) accepted({ id: 'thing-1' });
      await before();
      if (body.name === 'slow-and-lost') throw new DomainError('node-unreachable', 'the node does not answer');
      return { id: 'thing-1' };
    },
  });

const others = [
  endpoint('GET /things', { summary: 'Things', reply: z.object({}), handle: async () => ({}) }),
  endpoint('POST /telemetry', {
    summary: 'What a machine says',
    body: z.object({}),
    reply: z.object({}),
    audit: 'machine-fact',
    handle: async () => ({}),
  }),
  endpoint('POST /login', {
    summary: 'A refusal that is an answer',
    auth: 'public',
    body: z.object({ username: z.string(), password: z.string() }),
    reply: z.object({}),
    otherReplies: { 401: z.object({}) },
    audit: { action: 'Login', object: 'session' },
    handle: async ({ body, audited }) => {
      if (body.username === 'admin') audited({ actor: 'user:admin' });
      if (body.password === 'right') return {};
      audited({ code: 'unauthorized', reason: 'Invalid credentials' });
      return answer(401, {});
    },
  }),
];

const serve = async (t: TestContext, thing = makeThing()) => {
  const entries: AuditEntry[] = [];
  const auth = { enabled: true, loopbackCallbacks: false, sessions: sessionsFor(), cors: [] };
  const { url } = await serveApp(t, {
    endpoints: [thing, ...others],
    authenticate: createAuthenticate({ ...auth, staticTokens: [sha256(token)] }),
    audit: { record: async (entry) => void entries.push(entry) },
  });
  const send = (path: string, body: unknown, headers: Record<string, string> = authorized) =>
    fetch(`${url}/api/v1${path}`, post(body, headers));
  return { url, entries, send };
};

describe('a command', () => {
  test('that is accepted is recorded with who, what, from where, and the events that it led to', async (t) => {
    const { entries, send } = await serve(t);
    const headers = { ...authorized, 'x-request-id': 'req-1' };
    assert.equal((await send('/things', { name: 'one', password: 'very secret' }, headers)).status, 200);
    const [entry] = entries;
    assert.ok(entry);
    const { id, at, ...rest } = entry;
    assert.match(id, /^[0-9a-f-]{36}$/);
    assert.ok(Math.abs(Date.parse(at) - Date.now()) < 60_000);
    assert.deepEqual(rest, {
      ...{ actor: `token:${sha256(token).slice(0, 8)}`, source: 'http', action: 'MakeThing', objectType: 'thing' },
      ...{ objectId: 'thing-1', outcome: 'accepted', dryRun: false, status: 200, code: null, reason: null },
      ...{ address: '127.0.0.1', requestId: 'req-1', correlationId: 'thing-1', facts: { name: 'one' } },
      ...{ appends: [{ ...appended, revision: '3', position: '4711' }], moreAppends: 0 },
    });
  });

  const refusals = [
    ['a rule', { name: 'taken' }, authorized, [409, 'refused', 'name-taken', '"taken" is in use', 'taken']],
    ['its input', { name: '' }, authorized, [400, 'refused', 'invalid-request', undefined, '']],
    ['a body that is no JSON', '{', authorized, [400, 'refused', 'invalid-request', undefined, null]],
    ['a wrong token', { name: 'x' }, { authorization: 'Bearer no' }, [401, 'refused', 'unauthorized', undefined, null]],
    ['no token', { name: 'x' }, {}, [401, 'refused', 'unauthorized', 'Missing authorization header', null]],
    [
      'a defect',
      { name: 'broken', password: 'p4ss' },
      authorized,
      [500, 'failed', 'internal-error', undefined, 'broken'],
    ],
  ] as const;
  for (const [why, body, headers, [status, outcome, code, reason, objectId]] of refusals) {
    test(`that is refused for ${why} is recorded with the reason`, async (t) => {
      const { entries, send } = await serve(t);
      assert.equal((await send('/things', body, headers)).status, status);
      assert.equal(entries.length, 1);
      const [entry] = entries;
      assert.deepEqual(
        [entry?.status, entry?.outcome, entry?.code, entry?.objectId],
        [status, outcome, code, objectId],
      );
      if (reason !== undefined) assert.equal(entry?.reason, reason);
      assert.ok(entry?.reason);
      assert.doesNotMatch(JSON.stringify(entries), /p4ss|Bearer/);
    });
  }

  test('that is answered with a refusal is recorded as one, under the name that is known', async (t) => {
    const { entries, send } = await serve(t);
    await send('/login', { username: 'admin', password: 'wrong' }, {});
    await send('/login', { username: 'my-password', password: 'wrong' }, {});
    await send('/login', { username: 'admin', password: 'right' }, {});
    assert.deepEqual(
      entries.map(({ actor, outcome, reason }) => [actor, outcome, reason]),
      [
        ['user:admin', 'refused', 'Invalid credentials'],
        ['anonymous', 'refused', 'Invalid credentials'],
        ['user:admin', 'accepted', null],
      ],
    );
    assert.doesNotMatch(JSON.stringify(entries), /wrong|right|my-password/);
  });

  test('is not answered before the trail has it', async (t) => {
    const { promise: kept, resolve: keep } = Promise.withResolvers<void>();
    let answered = false;
    const { url } = await serveApp(t, { endpoints: [makeThing()], audit: { record: () => kept } });
    const reply = fetch(`${url}/api/v1/things`, post({ name: 'one' })).then((response) => {
      answered = true;
      return response.status;
    });
    const other = await fetch(`${url}/api/v1/nothing`);
    assert.deepEqual([other.status, answered], [404, false]);
    keep();
    assert.equal(await reply, 200);
  });

  test('whose reply waits for others is recorded meanwhile, once', async (t) => {
    const { promise: others, resolve: go } = Promise.withResolvers<void>();
    const { entries, send } = await serve(
      t,
      makeThing(() => others),
    );
    const reply = send('/things', { name: 'slow' });
    while (entries.length === 0) await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual([entries[0]?.outcome, entries[0]?.objectId], ['accepted', 'thing-1']);
    go();
    assert.equal((await reply).status, 200);
    assert.equal(entries.length, 1);
  });

  test('that was accepted and then came to nothing is told twice', async (t) => {
    const { entries, send } = await serve(t);
    assert.equal((await send('/things', { name: 'slow-and-lost' })).status, 503);
    assert.deepEqual(
      entries.map(({ outcome, objectId, code, correlationId }) => [outcome, objectId, code, correlationId]),
      [
        ['accepted', 'thing-1', null, 'thing-1'],
        ['failed', 'thing-1', 'node-unreachable', 'thing-1'],
      ],
    );
  });

  test('of somebody unknown does not fill the log: a minute has so many', async (t) => {
    const { entries, send } = await serve(t);
    for (let n = 0; n < 25; n += 1) await send('/things', { name: 'x' }, {});
    assert.equal(entries.length, 10);
    await send('/things', { name: 'one' });
    assert.equal(entries.length, 11, 'whoever is known is always recorded');
  });
});

describe('what is no command', () => {
  test('is not recorded: a question, what a machine reports, a path or method that is not there', async (t) => {
    const { url, entries, send } = await serve(t);
    assert.equal((await fetch(`${url}/api/v1/things`, { headers: authorized })).status, 200);
    assert.equal((await send('/telemetry', {})).status, 200);
    assert.equal((await send('/nothing', {})).status, 404);
    assert.equal((await fetch(`${url}/api/v1/things`, { method: 'PUT', headers: authorized })).status, 405);
    assert.deepEqual(entries, []);
  });
});

describe('a dry run', () => {
  test('of what cannot be tried is refused, and never done', async (t) => {
    const { entries, send } = await serve(t);
    for (const value of ['true', '1', '', 'yes']) {
      const reply = await send(`/things?dry_run=${value}`, { name: 'one' });
      assert.equal(reply.status, 400);
      assert.equal(reply.headers.get('x-error-code'), value === 'true' ? 'dry-run-unsupported' : 'invalid-request');
    }
    assert.ok(entries.every(({ dryRun, outcome, appends }) => dryRun && outcome === 'refused' && appends.length === 0));
    assert.equal((await send('/things?dry_run=false', { name: 'one' })).status, 200);
    assert.equal(entries.at(-1)?.dryRun, false);
  });
});
