import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import { renderOpenApi } from '#http/openapi.ts';
import { createEndpoints, type EndpointDeps } from '../../src/composition/endpoints.ts';

const file = new URL('../../openapi.json', import.meta.url);

/** Endpoints are only described here, never called: whatever they are built from is not needed. */
const nothing: object = new Proxy(() => nothing, {
  get: (_target, name) => (name === Symbol.toPrimitive ? () => 0 : nothing),
  apply: () => nothing,
});

const endpoints = () => {
  const services = new Proxy(nothing, {
    get: (target, name) =>
      name === 'pool' ? { storageNode: 'n', first: 10_100, last: 10_200 } : Reflect.get(target, name),
  });
  const readModel = { runner: nothing, applied: nothing, settled: nothing };
  const rest = { auth: nothing, health: nothing, jobFeed: nothing, log: nothing, version: '0.0.0', stores: nothing };
  return createEndpoints({ ...rest, readModel, services } as unknown as EndpointDeps);
};

test('openapi.json describes what the hub serves; SENDENSE_UPDATE_OPENAPI=1 writes it anew', async () => {
  const { version } = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8'));
  const rendered = `${JSON.stringify(renderOpenApi(endpoints(), version), null, 2)}\n`;
  if (process.env.SENDENSE_UPDATE_OPENAPI) await writeFile(file, rendered);
  assert.equal(rendered, await readFile(file, 'utf8'), 'openapi.json is out of date');
});

test('every operation of the document is named once', () => {
  const document = renderOpenApi(endpoints(), '0.0.0');
  const names = Object.values(document.paths ?? {}).flatMap((path) =>
    Object.values(path as Record<string, { operationId?: string }>).flatMap(({ operationId }) => operationId ?? []),
  );
  assert.ok(names.length > 40, `only ${names.length} operations`);
  assert.equal(new Set(names).size, names.length);
});
