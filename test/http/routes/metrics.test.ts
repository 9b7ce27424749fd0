import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { describe, type TestContext, test } from 'node:test';
import { z } from 'zod';
import { createAuthenticate } from '#http/auth.ts';
import type { EndedRequest, RequestObserver } from '#http/observe.ts';
import { resource } from '#http/route.ts';
import { type MetricsPageDeps, metricsPage, noMetricsPage } from '#http/routes/metrics.ts';
import { rawRequest, serveApp, sessionsFor, until } from '../support.ts';

const token = 'a-token-that-the-operator-handed-out';
const staticTokens = [createHash('sha256').update(token).digest('hex')];
const bearer = { authorization: `Bearer ${token}` };

const serve = async (
  t: TestContext,
  { access = 'loopback', enabled = true }: Partial<Pick<MetricsPageDeps, 'access'> & { enabled: boolean }> = {},
) => {
  const cors: readonly string[] = [];
  const authenticate = createAuthenticate({
    ...{ enabled, loopbackCallbacks: false, sessions: sessionsFor(), staticTokens, cors },
  });
  const metrics = { render: async (format: string) => `in ${format}\n` };
  const { url } = await serveApp(t, {
    endpoints: [],
    authenticate,
    pages: [metricsPage({ metrics, access, authenticate, cors })],
  });
  return (headers: Record<string, string> = {}) => rawRequest(url, { path: '/metrics', headers });
};

describe('the metrics page', () => {
  test('is read without a token by programs of this host', async (t) => {
    const ask = await serve(t);
    const { status, text, headers } = await ask();
    assert.deepEqual([status, text], [200, 'in prometheus\n']);
    assert.equal(headers['content-type'], 'text/plain; version=0.0.4; charset=utf-8');
    assert.equal(headers['cache-control'], 'no-store');
  });

  test('asks others for a token: who comes through a proxy, from a page, or under a foreign name', async (t) => {
    const ask = await serve(t);
    assert.equal((await ask({ 'x-forwarded-for': '192.0.2.7' })).status, 401);
    assert.equal((await ask({ forwarded: 'for=192.0.2.7' })).status, 401);
    assert.equal((await ask({ origin: 'https://evil.example' })).status, 401);
    assert.equal((await ask({ host: 'evil.example' })).status, 401);
    assert.equal((await ask({ ...bearer, 'x-forwarded-for': '192.0.2.7' })).status, 200);
  });

  test('does not take a wrong token for none', async (t) => {
    const ask = await serve(t);
    assert.equal((await ask({ authorization: 'Bearer wrong' })).status, 401);
  });

  test('asks everybody for a token where it is told to', async (t) => {
    const ask = await serve(t, { access: 'token' });
    const { status, headers } = await ask();
    assert.deepEqual([status, headers['www-authenticate']], [401, 'Bearer']);
    assert.equal((await ask(bearer)).status, 200);
  });

  test('is not for pages of other origins where authentication is off either', async (t) => {
    const ask = await serve(t, { enabled: false });
    assert.equal((await ask()).status, 200);
    assert.equal((await ask({ host: 'evil.example' })).status, 403);
  });

  test('is gone where it is switched off, and says how to get it', async (t) => {
    const { url } = await serveApp(t, { endpoints: [], pages: [noMetricsPage()] });
    const { status, text } = await rawRequest(url, { path: '/metrics' });
    assert.equal(status, 404);
    assert.match(text, /SENDENSE_METRICS/);
  });

  const openMetrics = 'application/openmetrics-text';
  const accepts: readonly (readonly [accept: string, openMetrics: boolean])[] = [
    [`${openMetrics};version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1`, true],
    [openMetrics, true],
    [`text/plain, ${openMetrics}`, false],
    [`text/plain;q=0.2,${openMetrics};q=0.9`, true],
    [`${openMetrics};q=0, text/plain`, false],
    [`${openMetrics};version=7.0.0`, false],
    ['*/*', false],
    ['text/html', false],
  ];
  for (const [accept, expected] of accepts) {
    test(`answers ${accept} in ${expected ? 'OpenMetrics' : 'plain text'}`, async (t) => {
      const { text, headers } = await (await serve(t))({ accept });
      assert.equal(text, expected ? 'in openmetrics\n' : 'in prometheus\n');
      const type = expected
        ? `${openMetrics}; version=1.0.0; charset=utf-8`
        : 'text/plain; version=0.0.4; charset=utf-8';
      assert.equal(headers['content-type'], type);
    });
  }
});

describe('who observes requests', () => {
  test('is told the pattern of the route, never the path, and how the request ended', async (t) => {
    const ended: EndedRequest[] = [];
    let open = 0;
    const observer: RequestObserver = {
      observe: ({ setHeader }, run) => {
        open += 1;
        setHeader('x-observed', 'yes');
        run();
        return (request) => {
          open -= 1;
          ended.push(request);
        };
      },
    };
    const { endpoint } = resource({ tag: 'Things', group: 'E1' });
    const endpoints = [
      endpoint('GET /things/:thing_id', { summary: 'A thing', reply: z.object({}), handle: async () => ({}) }),
    ];
    const { url } = await serveApp(t, { endpoints, observers: [observer], pages: [noMetricsPage()] });
    for (const path of ['/api/v1/things/a-secret-name', '/nowhere/a-secret-name', '/metrics']) {
      assert.equal((await rawRequest(url, { path })).headers['x-observed'], 'yes');
    }
    await rawRequest(url, { path: '/api/v1/things/x', method: 'PUT' });
    await until(() => ended.length === 4, 'all four requests have ended');
    assert.equal(open, 0);
    assert.deepEqual(
      ended.map(({ method, route, status, errorCode }) => [method, route, status, errorCode]),
      [
        ['GET', '/api/v1/things/:thing_id', 200, undefined],
        ['GET', 'unmatched', 404, 'unknown-route'],
        ['GET', '/metrics', 404, 'metrics-off'],
        ['PUT', '/api/v1/things/:thing_id', 405, 'method-not-allowed'],
      ],
    );
    assert.doesNotMatch(JSON.stringify(ended), /a-secret-name/);
  });
});
