import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { z } from 'zod';
import type { CommandContext } from '#commands/ports.ts';
import type { Idempotency } from '#http/request.ts';
import { answer, type Endpoint, resource } from '#http/route.ts';
import { post, rawRequest, serveApp } from './support.ts';

const { endpoint } = resource({ tag: 'Things', group: 'E1' });

const Thing = z.object({
  vm_name: z.string(),
  repository_id: z.string(),
  disks: z.array(z.object({ index: z.number() })).default([]),
});

const things: readonly Endpoint[] = [
  endpoint('POST /things', {
    summary: 'Echoes',
    body: Thing,
    reply: z.object({ vm_name: z.string(), disks: z.number(), kind: z.literal('thing') }),
    maxBodyBytes: 1_000,
    handle: async ({ body }) => ({ vm_name: body.vm_name, disks: body.disks.length, kind: 'thing' }),
  }),
  endpoint('POST /options', {
    summary: 'Takes a body that may be left out',
    body: z.object({ force: z.boolean().default(false) }),
    reply: z.object({ force: z.boolean() }),
    handle: async ({ body }) => body,
  }),
  endpoint('GET /things/:thing_id/parts/:part', {
    summary: 'Tells its parameters',
    query: z.object({ limit: z.coerce.number().int().max(10).default(5) }),
    reply: z.object({ thing: z.string(), part: z.string(), limit: z.number() }),
    handle: async ({ params, query }) => ({ thing: params.thing_id, part: params.part, ...query }),
  }),
  endpoint('GET /numbered/:id', {
    summary: 'Has a path parameter with a schema',
    params: z.object({ id: z.coerce.number().int() }),
    reply: z.object({ next: z.number() }),
    handle: async ({ params }) => ({ next: params.id + 1 }),
  }),
  endpoint('POST /made', {
    summary: 'Answers 201, or 202 with a header',
    body: z.object({ later: z.boolean() }),
    status: 201,
    reply: z.object({ id: z.string() }),
    otherReplies: { 202: z.object({ wait: z.number() }) },
    handle: async ({ body }) => (body.later ? answer(202, { wait: 3 }, { 'x-hint': 'soon' }) : { id: 'a' }),
  }),
  endpoint('GET /leaky', {
    summary: 'Returns more than it declares',
    reply: z.object({ name: z.string() }),
    handle: async () => ({ name: 'a', password: 'secret' }),
  }),
  endpoint('GET /lying', {
    summary: 'Returns something else than it declares',
    reply: z.object({ count: z.number().int() }),
    handle: async () => ({ count: 1.5 }),
  }),
];

test('a handler gets what its schemas made of the request, defaults included', async (t) => {
  const { url } = await serveApp(t, { endpoints: things });
  const reply = await fetch(`${url}/api/v1/things/a%20b%2Fc/parts/%C3%A4`);
  assert.equal(reply.status, 200);
  assert.deepEqual(await reply.json(), { thing: 'a b/c', part: 'ä', limit: 5 });
  assert.deepEqual(await (await fetch(`${url}/api/v1/numbered/41`)).json(), { next: 42 });
});

describe('a request body', () => {
  const full = { vm_name: 'pg', repository_id: 'r', disk_id: 7, disks: [{ index: 0, extra: 1 }] };

  test('is read as JSON whatever its content type says, unknown keys ignored', async (t) => {
    const { url } = await serveApp(t, { endpoints: things });
    for (const headers of [
      {},
      { 'content-type': 'application/json' },
      { 'content-type': 'application/x-www-form-urlencoded' },
      { 'content-type': 'text/plain; charset=iso-8859-1' },
      { 'content-type': 'no type' },
    ]) {
      const reply = await fetch(`${url}/api/v1/things`, post(full, { ...headers }));
      assert.equal(reply.status, 200, JSON.stringify(headers));
      assert.deepEqual(await reply.json(), { vm_name: 'pg', disks: 1, kind: 'thing' });
      assert.match(reply.headers.get('content-type') ?? '', /^application\/json/);
    }
  });

  test('may be sent without any content type', async (t) => {
    const { url } = await serveApp(t, { endpoints: things });
    const body = new Blob([JSON.stringify(full)]).stream();
    const reply = await fetch(`${url}/api/v1/things`, { method: 'POST', body, duplex: 'half' });
    assert.equal(reply.status, 200);
  });

  test('that is missing counts as the empty object', async (t) => {
    const { url } = await serveApp(t, { endpoints: things });
    const reply = await fetch(`${url}/api/v1/options`, { method: 'POST' });
    assert.deepEqual([reply.status, await reply.json()], [200, { force: false }]);
  });

  test('that is no JSON is refused in JSON', async (t) => {
    const { url } = await serveApp(t, { endpoints: things });
    for (const body of ['{"vm_name":', 'vm_name=pg', new Uint8Array([0x22, 0xff, 0x22])]) {
      const reply = await fetch(`${url}/api/v1/things`, { method: 'POST', body });
      assert.equal(reply.status, 400);
      const { error, details, timestamp, ...rest } = (await reply.json()) as Record<string, string>;
      assert.deepEqual([error, details, rest], ['Invalid request: the body is not JSON', '', {}]);
      assert.match(timestamp ?? '', /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    }
  });

  test('that does not fit is refused, and every fault named', async (t) => {
    const { url } = await serveApp(t, { endpoints: things });
    const errorOf = async (body: unknown): Promise<string> => {
      const reply = await fetch(`${url}/api/v1/things`, post(body));
      assert.equal(reply.status, 400);
      return ((await reply.json()) as { error: string }).error;
    };
    assert.equal(await errorOf({}), 'Invalid request: vm_name is required; repository_id is required');
    assert.match(
      await errorOf({ ...full, disks: [{}, { index: 'x' }] }),
      /disks\.0\.index is required; disks\.1\.index: /,
    );
    assert.match(await errorOf('null'), /the body: /);
    assert.match(await errorOf('[]'), /the body: /);
  });

  test('that is too large is refused with 413, packed or not', async (t) => {
    const { url } = await serveApp(t, { endpoints: things });
    const large = JSON.stringify({ ...full, vm_name: 'x'.repeat(1_000) });
    const plain = await fetch(`${url}/api/v1/things`, post(large));
    const headers = { 'content-encoding': 'gzip' };
    const packed = await fetch(`${url}/api/v1/things`, { method: 'POST', headers, body: gzipSync(large) });
    for (const reply of [plain, packed]) {
      assert.equal(reply.status, 413);
      assert.match(((await reply.json()) as { error: string }).error, /larger than 1000 bytes/);
    }
  });

  test('in an unknown encoding is refused with 415, a broken one with 400', async (t) => {
    const { url } = await serveApp(t, { endpoints: things });
    const send = (encoding: string) => fetch(`${url}/api/v1/things`, post('{}', { 'content-encoding': encoding }));
    assert.equal((await send('zstandard')).status, 415);
    assert.equal((await send('gzip')).status, 400);
  });
});

test('path and query parameters that do not fit are refused by name', async (t) => {
  const { url } = await serveApp(t, { endpoints: things });
  const query = await fetch(`${url}/api/v1/things/a/parts/b?limit=11`);
  assert.equal(query.status, 400);
  assert.match(((await query.json()) as { error: string }).error, /^Invalid request: limit: /);
  const path = await fetch(`${url}/api/v1/numbered/x`);
  assert.equal(path.status, 400);
  assert.match(((await path.json()) as { error: string }).error, /^Invalid request: id: /);
});

test('a handler may answer with each status it declares, and with headers', async (t) => {
  const { url } = await serveApp(t, { endpoints: things });
  const now = await fetch(`${url}/api/v1/made`, post({ later: false }));
  assert.deepEqual([now.status, await now.json()], [201, { id: 'a' }]);
  const later = await fetch(`${url}/api/v1/made`, post({ later: true }));
  assert.deepEqual([later.status, later.headers.get('x-hint'), await later.json()], [202, 'soon', { wait: 3 }]);
});

describe('a reply', () => {
  test('holds nothing that its schema does not name', async (t) => {
    const { url } = await serveApp(t, { endpoints: things });
    assert.deepEqual(await (await fetch(`${url}/api/v1/leaky`)).json(), { name: 'a' });
  });

  test('that is not as declared becomes a 500 and a line in the log', async (t) => {
    const { url, lines } = await serveApp(t, { endpoints: things });
    const reply = await fetch(`${url}/api/v1/lying`);
    assert.equal(reply.status, 500);
    const [failure] = lines.filter(({ level }) => level === 'error');
    assert.match(String(failure?.fields.err), /GET \/lying answered with a body that is not as declared/);
  });

  test('to HEAD has the headers of GET and no body', async (t) => {
    const { url } = await serveApp(t, { endpoints: things });
    const reply = await rawRequest(url, { method: 'HEAD', path: '/api/v1/leaky' });
    assert.deepEqual([reply.status, reply.headers['content-length'], reply.text], [200, '12', '']);
  });
});

describe('the context of commands', () => {
  const seen: { context: CommandContext; idempotency: Idempotency | undefined; signal: AbortSignal }[] = [];
  const recording = endpoint('POST /commands/:id', {
    summary: 'Remembers its context',
    body: z.object({ a: z.number().optional() }),
    reply: z.object({}),
    handle: async ({ context, idempotency, signal }) => {
      seen.push({ context: context('job-1'), idempotency, signal });
      return {};
    },
  });
  const send = async (url: string, path: string, headers: Record<string, string>, body = '{"a":1}') => {
    const reply = await fetch(`${url}/api/v1/commands/${path}`, post(body, headers));
    assert.equal(reply.status, 200);
    const last = seen.at(-1);
    assert.ok(last);
    return last;
  };

  test('names actor, correlation and the request that caused it', async (t) => {
    const { url } = await serveApp(t, { endpoints: [recording] });
    const { context } = await send(url, 'x', { 'x-request-id': 'req-1' });
    const { commandId, onAppended: _, ...rest } = context;
    assert.deepEqual(rest, { actor: 'user:anonymous', correlationId: 'job-1', causationId: 'req-1' });
    assert.notEqual(commandId, 'req-1');
  });

  test('has the same command id for the same key, and another for another path or without a key', async (t) => {
    const { url } = await serveApp(t, { endpoints: [recording] });
    const key = { 'idempotency-key': 'k-1', 'x-request-id': 'same' };
    const first = await send(url, 'x', key);
    const repeated = await send(url, 'x', key);
    const elsewhere = await send(url, 'y', key);
    assert.equal(repeated.context.commandId, first.context.commandId);
    assert.notEqual(elsewhere.context.commandId, first.context.commandId);
    assert.match(first.context.commandId, /^[0-9a-f]{64}$/);
    const without = [
      await send(url, 'x', { 'x-request-id': 'same' }),
      await send(url, 'x', { 'x-request-id': 'same' }),
    ];
    assert.notEqual(without[0]?.context.commandId, without[1]?.context.commandId);
    assert.equal(without[0]?.idempotency, undefined);
  });

  test('tells a repeat from another request under the same key', async (t) => {
    const { url } = await serveApp(t, { endpoints: [recording] });
    const key = { 'idempotency-key': 'k-1' };
    const [first, repeated, other] = [
      await send(url, 'x', key),
      await send(url, 'x', key),
      await send(url, 'x', key, '{"a":2}'),
    ].map(({ idempotency }) => idempotency);
    assert.equal(first?.operation, 'POST /api/v1/commands/:id');
    assert.equal(repeated?.requestSha256, first?.requestSha256);
    assert.notEqual(other?.requestSha256, first?.requestSha256);
  });

  test('refuses a key with spaces, of other characters, or too long', async (t) => {
    const { url } = await serveApp(t, { endpoints: [recording] });
    for (const key of ['a b', 'é', 'x'.repeat(256)]) {
      const reply = await fetch(`${url}/api/v1/commands/x`, post('{}', { 'idempotency-key': key }));
      assert.equal(reply.status, 400);
      assert.match(((await reply.json()) as { error: string }).error, /Idempotency-Key/);
    }
  });
});

test('the signal of a handler aborts when the client goes away', async (t) => {
  const { promise: aborted, resolve } = Promise.withResolvers<void>();
  const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
  const slow = endpoint('GET /slow', {
    summary: 'Answers when nobody listens any more',
    reply: z.object({}),
    handle: async ({ signal }) => {
      signal.addEventListener('abort', () => resolve());
      begin();
      await aborted;
      return {};
    },
  });
  const { url, lines } = await serveApp(t, { endpoints: [slow] });
  const client = new AbortController();
  const request = fetch(`${url}/api/v1/slow`, { signal: client.signal });
  await begun;
  client.abort();
  await assert.rejects(request);
  await aborted;
  assert.equal(lines.filter(({ level }) => level === 'error').length, 0);
  assert.equal(lines.at(-1)?.fields.aborted, true);
});
