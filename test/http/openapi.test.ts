import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { z } from 'zod';
import { renderOpenApi } from '#http/openapi.ts';
import { type Endpoint, resource } from '#http/route.ts';
import { apiDocsPages } from '#http/routes/api-docs.ts';
import { authEndpoints } from '#http/routes/auth.ts';
import { eventStreamEndpoints } from '#http/routes/event-stream.ts';
import { healthEndpoints } from '#http/routes/health.ts';
import { manualClock, memoryLog, serveApp, sessionsFor } from './support.ts';

const Backup = z.object({ backup_id: z.string(), status: z.enum(['running', 'completed']) }).meta({ id: 'Backup' });

const { endpoint } = resource({ tag: 'Backups', group: 'E1' });
const backups: readonly Endpoint[] = [
  endpoint('POST /backups', {
    summary: 'Starts a backup',
    body: z.object({ vm_name: z.string(), backup_type: z.enum(['full', 'incremental']).default('full') }),
    reply: Backup,
    errors: ['vm-not-found', 'backup-already-running', 'vm-name-ambiguous', 'node-timeout'],
    statuses: { 'node-timeout': 503 },
    handle: async () => ({ backup_id: 'b', status: 'running' }),
  }),
  endpoint('GET /backups/:backup_id', {
    summary: 'One backup',
    reply: Backup,
    errors: ['backup-not-found'],
    handle: async () => ({ backup_id: 'b', status: 'running' }),
  }),
  endpoint('POST /backups/:backup_id/complete', {
    summary: 'Completes a disk',
    auth: 'loopback-callback',
    reply: z.object({}),
    handle: async () => ({}),
  }),
  resource({ tag: 'Repositories', group: 'E2' }).endpoint('GET /repositories', {
    summary: 'All repositories',
    query: z.object({ type: z.string().optional() }),
    reply: z.object({}),
    handle: async () => ({}),
  }),
];

const own: readonly Endpoint[] = [
  ...healthEndpoints({
    health: { report: () => Promise.reject(new Error('not asked')) },
    clock: manualClock(),
    version: '1',
    log: memoryLog().log,
  }),
  ...authEndpoints({
    sessions: sessionsFor(),
    passwords: { adminHash: async () => undefined, addAdminHash: async () => true, replaceAdminHash: async () => {} },
    appliances: { sha256Of: async () => undefined },
    audit: () => {},
  }),
  ...eventStreamEndpoints({
    feed: {
      subscribe: async function* () {},
    },
  }),
];

/** What the tests look at, read from the JSON that is served. */
type Document = {
  openapi: string;
  info: { version: string };
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, unknown>; securitySchemes: Record<string, unknown> };
};
type Operation = {
  operationId: string;
  security: object[];
  parameters?: { in: string; name: string; required?: boolean }[];
  requestBody?: { content: Record<string, { schema: Record<string, unknown> }> };
  responses: Record<string, { description: string; content: Record<string, { schema: { $ref?: string } }> }>;
};

const render = (endpoints: readonly Endpoint[]): Document =>
  JSON.parse(JSON.stringify(renderOpenApi(endpoints, '1.2.3'))) as Document;

const refsIn = (value: unknown): readonly string[] =>
  [...JSON.stringify(value).matchAll(/"\$ref":"([^"]+)"/g)].map(([, ref = '']) => ref);

describe('the OpenAPI document', () => {
  const document = render([...backups, ...own]);
  const operations = Object.values(document.paths).flatMap((methods) => Object.values(methods));

  test('has every endpoint, under a name of its own', () => {
    assert.equal(document.openapi, '3.1.0');
    assert.equal(document.info.version, '1.2.3');
    assert.deepEqual(Object.keys(document.paths), [
      '/api/v1/auth/login',
      '/api/v1/auth/logout',
      '/api/v1/backups',
      '/api/v1/backups/{backup_id}',
      '/api/v1/backups/{backup_id}/complete',
      '/api/v1/events/stream',
      '/api/v1/repositories',
      '/health',
    ]);
    assert.equal(
      document.paths['/api/v1/backups/{backup_id}/complete']?.post?.operationId,
      'postBackupsByBackupIdComplete',
    );
    assert.equal(new Set(operations.map(({ operationId }) => operationId)).size, operations.length);
  });

  test('refers to nothing that it does not hold', () => {
    const refs = refsIn(document);
    assert.ok(refs.includes('#/components/schemas/Backup'));
    for (const ref of refs) {
      const target = ref
        .replace('#/', '')
        .split('/')
        .reduce<unknown>(
          (node, key) => (node !== null && typeof node === 'object' ? Reflect.get(node, key) : undefined),
          document,
        );
      assert.ok(target, ref);
    }
  });

  test('names each parameter of a path, and requires it', () => {
    for (const [path, methods] of Object.entries(document.paths)) {
      const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      for (const { parameters = [] } of Object.values(methods)) {
        const inPath = parameters.filter((parameter) => parameter.in === 'path');
        assert.deepEqual(
          inPath.map(({ name, required }) => [name, required]),
          names.map((name) => [name, true]),
          path,
        );
      }
    }
  });

  test('tells the request’s body as clients may send it: a default is not required', () => {
    const schema = document.paths['/api/v1/backups']?.post?.requestBody?.content['application/json']?.schema;
    assert.deepEqual(schema?.required, ['vm_name']);
  });

  test('tells each refusal by its status and shape, and who may call', () => {
    const start = document.paths['/api/v1/backups']?.post;
    assert.deepEqual(Object.keys(start?.responses ?? {}), ['200', '400', '401', '404', '409', '500', '503']);
    assert.match(start?.responses['409']?.description ?? '', /backup-already-running, vm-name-ambiguous/);
    assert.match(start?.responses['503']?.description ?? '', /node-timeout/);
    assert.equal(start?.responses['409']?.content['application/json']?.schema.$ref, '#/components/schemas/Error');
    assert.deepEqual(start?.security, [{ bearer: [] }]);
    const repositories = document.paths['/api/v1/repositories']?.get;
    const shape = (status: string) => repositories?.responses[status]?.content['application/json']?.schema.$ref;
    assert.equal(shape('500'), '#/components/schemas/RepositoryError');
    assert.equal(shape('401'), '#/components/schemas/Error');
    assert.deepEqual(document.paths['/api/v1/backups/{backup_id}/complete']?.post?.security, [{ bearer: [] }, {}]);
    assert.deepEqual(document.paths['/health']?.get?.security, []);
    const stream = document.paths['/api/v1/events/stream']?.get?.responses['200'];
    assert.deepEqual(Object.keys(stream?.content ?? {}), ['text/event-stream']);
  });

  test('is the same text whatever the order of the endpoints', () => {
    assert.equal(JSON.stringify(render([...own, ...backups].reverse())), JSON.stringify(document));
  });
});

describe('the page of the API', () => {
  test('loads the document and everything else from the hub itself, without inline scripts', async (t) => {
    const { url } = await serveApp(t, {
      endpoints: backups,
      pages: [apiDocsPages(async () => renderOpenApi(backups, '1'))],
    });
    const page = await fetch(`${url}/swagger/index.html`);
    assert.equal(page.status, 200);
    assert.match(page.headers.get('content-type') ?? '', /^text\/html/);
    const html = await page.text();
    const links = [...html.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, link = '']) => link);
    assert.equal(links.length, 4);
    assert.doesNotMatch(html, /<script>|<style>| on\w+=/);
    for (const link of [...links, 'doc.json']) {
      const target = new URL(link, page.url);
      assert.equal(target.origin, url);
      const asset = await fetch(target);
      assert.equal(asset.status, 200, link);
      assert.ok((await asset.arrayBuffer()).byteLength > 100, link);
      if (link.endsWith('.js')) assert.match(asset.headers.get('content-type') ?? '', /^text\/javascript/);
    }
    const start = await (await fetch(`${url}/swagger/start.js`)).text();
    assert.match(start, /url: 'doc\.json'/);
    assert.doesNotMatch(start, /https?:/);
  });

  test('is where /swagger leads', async (t) => {
    const { url } = await serveApp(t, { endpoints: [], pages: [apiDocsPages(async () => ({}))] });
    for (const path of ['/swagger', '/swagger/']) {
      const reply = await fetch(`${url}${path}`, { redirect: 'manual' });
      assert.deepEqual([reply.status, reply.headers.get('location')], [302, '/swagger/index.html']);
    }
  });

  test('gives out none of the other files of its package', async (t) => {
    const { url } = await serveApp(t, { endpoints: [], pages: [apiDocsPages(async () => ({}))] });
    for (const path of ['package.json', '../express/package.json', '%2e%2e/express/package.json'])
      assert.equal((await fetch(`${url}/swagger/${path}`)).status, 404);
  });
});
