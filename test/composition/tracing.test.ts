import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { pino } from 'pino';
import { startTracing } from '../../src/composition/tracing.ts';

const loaded = (): number =>
  Object.keys(createRequire(import.meta.url).cache).filter((path) => path.includes('/@opentelemetry/')).length;

test('nothing of OpenTelemetry is loaded until a collector is told', async () => {
  const deps = { version: '1', log: pino({ level: 'silent' }) };
  const observability = { metrics: 'loopback', otlpEndpoint: undefined } as const;
  assert.equal(await startTracing({ ...deps, config: { nodeName: 'hub-1', observability } }), undefined);
  assert.equal(loaded(), 0);
  const told = { ...observability, otlpEndpoint: 'http://127.0.0.1:9' };
  const tracing = await startTracing({ ...deps, config: { nodeName: 'hub-1', observability: told } });
  assert.ok(loaded() > 0);
  await tracing?.stop();
});
