import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { renderOpenApi } from '#http/openapi.ts';
import { describedEndpoints } from '../support/described-endpoints.ts';

const file = new URL('../../openapi.json', import.meta.url);

test('openapi.json describes what the hub serves; SENDENSE_UPDATE_OPENAPI=1 writes it anew', async () => {
  const { version } = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8'));
  const rendered = `${JSON.stringify(renderOpenApi(describedEndpoints(), version), null, 2)}\n`;
  if (process.env.SENDENSE_UPDATE_OPENAPI) await writeFile(file, rendered);
  assert.equal(rendered, await readFile(file, 'utf8'), 'openapi.json is out of date');
});

test('every operation of the document is named once', () => {
  const document = renderOpenApi(describedEndpoints(), '0.0.0');
  const names = Object.values(document.paths ?? {}).flatMap((path) =>
    Object.values(path as Record<string, { operationId?: string }>).flatMap(({ operationId }) => operationId ?? []),
  );
  assert.ok(names.length > 40, `only ${names.length} operations`);
  assert.equal(new Set(names).size, names.length);
});
