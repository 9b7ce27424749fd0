import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { execa } from 'execa';
import { z } from 'zod';
import { renderOpenApi } from '#http/openapi.ts';
import { resource } from '#http/route.ts';
import { apiDocsPages } from '#http/routes/api-docs.ts';
import { serveApp } from './support.ts';

// Without these the browser calls home, and as root it needs to be told to do without its sandbox.
const quiet = [
  ...['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync'],
  ...['--disable-background-networking', '--disable-component-update', '--disable-dev-shm-usage'],
];

/** The page's elements after its scripts have run. */
const renderInBrowser = async (url: string): Promise<string> => {
  const profile = await mkdtemp(join(tmpdir(), 'browser-'));
  try {
    const args = [...quiet, `--user-data-dir=${profile}`, '--virtual-time-budget=10000', '--dump-dom', url];
    const { stdout } = await execa('chromium', args, { timeout: 60_000, stdin: 'ignore' });
    return stdout;
  } finally {
    await rm(profile, { recursive: true, force: true, maxRetries: 5 });
  }
};

test('the API page lists the operations in a real browser, under its own content security policy', async (t) => {
  const { endpoint } = resource({ tag: 'Moons', group: 'E1', auth: 'public' });
  const endpoints = [
    endpoint('GET /moons/:name', {
      summary: 'Shows a moon of Jupiter',
      reply: z.object({ name: z.string() }),
      handle: async ({ params }) => ({ name: params.name }),
    }),
  ];
  const { url } = await serveApp(t, {
    endpoints,
    pages: [apiDocsPages(async () => renderOpenApi(endpoints, '1.2.3'))],
  });
  const page = await renderInBrowser(`${url}/swagger/`);
  assert.match(page, /Shows a moon of Jupiter/);
  assert.match(page, /opblock-get/);
});
