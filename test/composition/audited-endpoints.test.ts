import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Endpoint } from '#http/route.ts';
import { describedEndpoints } from '../support/described-endpoints.ts';

const endpoints = describedEndpoints();
const named = ({ method, path }: Endpoint): string => `${method} ${path}`;

test('every endpoint that may change something tells the audit trail what its command is', () => {
  const silent = endpoints.filter(({ method, audit }) => method !== 'GET' && audit === undefined);
  assert.deepEqual(silent.map(named), []);
});

test('telemetry is the one fact of machines that is left out', () => {
  assert.deepEqual(endpoints.filter(({ audit }) => audit === 'machine-fact').map(named), [
    'POST /api/v1/telemetry/:job_type/:job_id',
  ]);
});

test('commands have names in the imperative, and keep nothing that could be a password', () => {
  const commands = endpoints.flatMap(({ audit }) => (typeof audit === 'object' ? [audit] : []));
  assert.ok(commands.length > 20, `only ${commands.length}`);
  for (const { action, object, id = [], facts = [] } of commands) {
    assert.match(action, /^([A-Z][a-z0-9]+)+$/);
    assert.match(object, /^[a-z][A-Za-z]+$/);
    for (const path of id) assert.match(path, /^(path|body|reply)\.[a-z_.]+$/);
    for (const key of [...facts, ...id]) assert.doesNotMatch(key, /pass|secret|token|login|username/);
  }
});

test('whatever can be run dry is a command that is recorded', () => {
  const dry = endpoints.filter(({ dryRun }) => dryRun);
  assert.ok(dry.length >= 17, `only ${dry.length}`);
  assert.deepEqual(dry.filter(({ audit }) => typeof audit !== 'object').map(named), []);
});
