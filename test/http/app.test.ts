import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import express from 'express';
import { z } from 'zod';
import { type Endpoint, resource } from '#http/route.ts';
import { rawRequest, serveApp, until } from './support.ts';

const named = (route: 'GET' | 'DELETE', path: string): Endpoint =>
  resource({ tag: 'Named', group: 'E1' }).endpoint(`${route} ${path}`, {
    summary: 'Tells which endpoint it is',
    reply: z.object({ route: z.string() }),
    handle: async () => ({ route: `${route} ${path}` }),
  });

const { endpoint } = resource({ tag: 'Simple', group: 'E1' });
const simple = endpoint('GET /simple', { summary: 'Works', reply: z.object({}), handle: async () => ({}) });

describe('routing', () => {
  test('prefers literal segments, whatever the order of the endpoints', async (t) => {
    const endpoints = [
      named('GET', '/b/:id'),
      named('GET', '/b/:id/chain'),
      named('GET', '/b/stats'),
      named('GET', '/b'),
    ];
    const { url } = await serveApp(t, { endpoints });
    for (const [path, route] of [
      ['/b/stats', 'GET /b/stats'],
      ['/b/stats/chain', 'GET /b/:id/chain'],
      ['/b/other', 'GET /b/:id'],
      ['/b', 'GET /b'],
    ]) {
      assert.deepEqual(await (await fetch(`${url}/api/v1${path}`)).json(), { route }, path);
    }
  });

  test('is indifferent to case and to a slash at the end', async (t) => {
    const endpoints = [named('GET', '/b'), named('GET', '/b/:id'), simple];
    const { url } = await serveApp(t, { endpoints });
    for (const path of ['/b/', '/B', '/B/1/', '/simple/', '/SIMPLE'])
      assert.equal((await fetch(`${url}/api/v1${path}`)).status, 200, path);
    assert.equal((await fetch(`${url}/api/v1/b/1/2`)).status, 404);
  });

  test('answers an unknown route 404 in the shape of the neighbourhood', async (t) => {
    const { url } = await serveApp(t, { endpoints: [simple] });
    const reply = await fetch(`${url}/api/v1/nothing?token=secret`);
    assert.equal(reply.status, 404);
    const { timestamp: _, ...body } = (await reply.json()) as Record<string, unknown>;
    assert.deepEqual(body, { error: 'No such route', details: '/api/v1/nothing' });
    const repositories = await fetch(`${url}/api/v1/repositories/x/y`);
    assert.deepEqual(await repositories.json(), { success: false, error: 'No such route' });
    assert.equal((await fetch(`${url}/`)).status, 404);
  });

  test('answers a wrong method 405 and says which are right', async (t) => {
    const { url } = await serveApp(t, { endpoints: [named('GET', '/b/:id'), named('DELETE', '/b/:other')] });
    const reply = await fetch(`${url}/api/v1/b/1`, { method: 'PUT', body: 'not json' });
    assert.deepEqual([reply.status, reply.headers.get('allow')], [405, 'GET, DELETE, HEAD, OPTIONS']);
    assert.equal(((await reply.json()) as { error: string }).error, 'PUT is not allowed here');
  });

  test('answers a path with broken escapes 400', async (t) => {
    const { url } = await serveApp(t, { endpoints: [named('GET', '/b/:id')] });
    const reply = await rawRequest(url, { path: '/api/v1/b/%E0%A4%A' });
    assert.equal(reply.status, 400);
    assert.match(JSON.parse(reply.text).error, /percent-encoded/);
  });

  test('does not start with two endpoints in one place', async (t) => {
    const endpoints = [named('GET', '/b/:id'), named('GET', '/b/:other')];
    await assert.rejects(serveApp(t, { endpoints }), /two endpoints have the same method and path/);
  });
});

describe('cross-origin requests', () => {
  const allowOrigin = 'access-control-allow-origin';
  const ask = async (url: string, origin: string, method = 'GET') =>
    fetch(`${url}/api/v1/simple`, { method, headers: { origin } });

  test('get no permission by default', async (t) => {
    const { url } = await serveApp(t, { endpoints: [simple] });
    const preflight = await ask(url, 'http://evil.example', 'OPTIONS');
    assert.deepEqual([preflight.status, await preflight.text()], [200, '']);
    assert.equal(preflight.headers.get(allowOrigin), null);
    assert.equal(preflight.headers.get('vary'), 'Origin');
  });

  test('get it for listed origins only', async (t) => {
    const { url } = await serveApp(t, { endpoints: [simple], cors: ['https://console.example'] });
    const preflight = await ask(url, 'https://console.example', 'OPTIONS');
    assert.equal(preflight.headers.get(allowOrigin), 'https://console.example');
    assert.equal(preflight.headers.get('access-control-allow-methods'), 'GET, POST, PUT, PATCH, DELETE, OPTIONS');
    assert.match(preflight.headers.get('access-control-allow-headers') ?? '', /Content-Type, Authorization/);
    assert.equal((await ask(url, 'https://other.example', 'OPTIONS')).headers.get(allowOrigin), null);
  });

  test('get it for all with the star, errors included', async (t) => {
    const { url } = await serveApp(t, { endpoints: [simple], cors: ['*'] });
    const reply = await fetch(`${url}/api/v1/nothing`, { headers: { origin: 'http://any.example' } });
    assert.deepEqual([reply.status, reply.headers.get(allowOrigin)], [404, '*']);
  });

  test('of the kind OPTIONS are answered 200 on every path', async (t) => {
    const { url } = await serveApp(t, { endpoints: [simple] });
    assert.equal((await fetch(`${url}/no/such/path`, { method: 'OPTIONS' })).status, 200);
  });
});

describe('each request', () => {
  test('has an id: a good one of the client, else a new one', async (t) => {
    const { url } = await serveApp(t, { endpoints: [simple] });
    const idOf = async (id: string) =>
      (await fetch(`${url}/api/v1/simple`, { headers: { 'x-request-id': id } })).headers.get('x-request-id');
    assert.equal(await idOf('client-1:a.b_c'), 'client-1:a.b_c');
    for (const bad of ['a b', 'x'.repeat(129), '"}']) assert.match((await idOf(bad)) ?? '', /^[0-9a-f-]{36}$/);
  });

  test('leaves one line, with the route’s pattern and without its query', async (t) => {
    const { url, lines } = await serveApp(t, { endpoints: [named('GET', '/b/:id')] });
    await fetch(`${url}/api/v1/b/7?token=secret`, { headers: { 'x-request-id': 'r-1' } });
    await until(() => lines.length > 0, 'the request is logged');
    const [line, ...more] = lines;
    const { ms, ...fields } = line?.fields ?? {};
    assert.deepEqual(more, []);
    assert.ok(Number(ms) >= 0);
    assert.deepEqual([line?.level, line?.message], ['info', 'request answered']);
    assert.deepEqual(fields, {
      requestId: 'r-1',
      method: 'GET',
      route: '/api/v1/b/:id',
      status: 200,
      address: '127.0.0.1',
      actor: 'user:anonymous',
      errorCode: undefined,
      aborted: false,
    });
    await fetch(`${url}/api/v1/secret-name`);
    await until(() => lines.length > 1, 'the second request is logged');
    assert.doesNotMatch(JSON.stringify(lines), /secret/);
    assert.equal(lines[1]?.fields.errorCode, 'unknown-route');
  });

  test('is answered with protective headers and not stored; a page with those that pages need', async (t) => {
    const page = express.Router().get('/page', (_request, response) => void response.type('html').send('<p>a page'));
    const { url } = await serveApp(t, { endpoints: [simple], pages: [page] });
    const { headers } = await fetch(`${url}/api/v1/simple`);
    assert.equal(headers.get('content-security-policy'), "default-src 'none'; frame-ancestors 'none'");
    assert.equal(headers.get('x-content-type-options'), 'nosniff');
    assert.equal(headers.get('cache-control'), 'no-store');
    assert.equal(headers.get('x-powered-by'), null);
    const shown = await fetch(`${url}/page`);
    const policy = shown.headers.get('content-security-policy') ?? '';
    assert.match(policy, /default-src 'self'/);
    assert.doesNotMatch(policy, /script-src[^;]*unsafe/);
    assert.equal(shown.headers.get('x-content-type-options'), 'nosniff');
    assert.equal(shown.headers.get('referrer-policy'), 'no-referrer');
  });

  test('without a body is HEAD, with the length that it would have', async (t) => {
    const { url } = await serveApp(t, { endpoints: [simple] });
    const reply = await fetch(`${url}/api/v1/simple`, { method: 'HEAD' });
    assert.deepEqual([reply.status, reply.headers.get('content-length'), await reply.text()], [200, '2', '']);
  });
});
