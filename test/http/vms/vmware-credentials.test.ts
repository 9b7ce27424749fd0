import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { NodeReply } from '../../support/fake-node.ts';
import { createVmsClient, login, password } from './vms-client.ts';
import { type Reply, startVmsHub, type VmsHub } from './vms-hub.ts';

describe('vCenter credentials', () => {
  let hub: VmsHub;
  const { call, created, refused } = createVmsClient(() => hub);
  const credential = async (id: number): Promise<Reply['body']> => (await call(`GET /vmware-credentials/${id}`)).body;

  before(async () => {
    hub = await startVmsHub();
  });
  after(() => hub.close());

  test('are listed as nothing at first, and there is no default', async () => {
    const reply = await call('GET /vmware-credentials');
    assert.deepEqual(reply.body, { credentials: [], count: 0, status: 'success' });
    refused(await call('GET /vmware-credentials/default'), 404, 'credential-not-found');
  });

  test('get numbers in order and every field of theirs but the password', async () => {
    const reply = await call('POST /vmware-credentials', login('first'));
    assert.equal(reply.status, 200);
    const { created_at, updated_at, ...shown } = reply.body.credential as Record<string, unknown>;
    assert.ok(typeof created_at === 'string' && created_at === updated_at);
    assert.deepEqual(shown, {
      ...{ id: 1, credential_name: 'first', vcenter_host: 'vc.example', username: 'backup' },
      ...{ datacenter: 'DC1', is_active: true, is_default: false, created_by: 'user:anonymous', last_used: null },
      usage_count: 0,
    });
    assert.equal(await created('second'), 2);
    assert.deepEqual(await credential(2), {
      ...(await credential(2)),
      ...{ id: 2, name: 'second', credential_name: 'second', is_active: true },
    });
  });

  test('are refused without one of the fields, named', async () => {
    const reply = await call('POST /vmware-credentials', { credential_name: 'x', vcenter_host: '', username: 'u' });
    refused(reply, 400, 'invalid-request');
    for (const field of ['vcenter_host', 'password', 'datacenter'])
      assert.match(String(reply.body.error), new RegExp(field));
    refused(await call('POST /vmware-credentials', { ...login('bell\u0007'), password: 'x' }), 400, 'invalid-request');
  });

  test('have names of their own, also when two are created at once', async () => {
    refused(await call('POST /vmware-credentials', login('first')), 409, 'name-taken');
    const replies = await Promise.all([1, 2, 3, 4].map(() => call('POST /vmware-credentials', login('raced'))));
    assert.deepEqual(replies.map(({ status }) => status).sort(), [200, 409, 409, 409]);
    const next = await created('after the race');
    const { credentials } = (await call('GET /vmware-credentials')).body as { credentials: { id: number }[] };
    assert.equal(new Set(credentials.map(({ id }) => id)).size, credentials.length);
    assert.equal(Math.max(...credentials.map(({ id }) => id)), next);
  });

  test('are created once for one Idempotency-Key', async () => {
    const key = { 'idempotency-key': 'create-keyed' };
    const first = await call('POST /vmware-credentials', login('keyed'), key);
    const again = await call('POST /vmware-credentials', login('keyed'), key);
    assert.deepEqual([again.status, again.body], [200, first.body]);
    refused(await call('POST /vmware-credentials', login('other'), key), 422, 'idempotency-key-reused');
  });

  test('are not found by unknown numbers, and numbers are integers', async () => {
    for (const route of ['GET /vmware-credentials/999', 'DELETE /vmware-credentials/999']) {
      refused(await call(route), 404, 'credential-not-found');
    }
    refused(await call('PUT /vmware-credentials/999', {}), 404, 'credential-not-found');
    refused(await call('GET /vmware-credentials/first'), 400, 'invalid-request');
  });

  test('keep what a change leaves out, an empty password included', async () => {
    const id = await created('to be changed');
    const change = { credential_name: 'changed', password: '', is_default: false };
    assert.equal((await call(`PUT /vmware-credentials/${id}`, change)).status, 200);
    const { updated_at: _, ...shown } = await credential(id);
    assert.deepEqual(shown, {
      ...shown,
      credential_name: 'changed',
      username: 'backup',
      datacenter: 'DC1',
    });
    assert.equal((await call(`POST /vmware-credentials/${id}/test`)).status, 200);
    assert.equal(await created('to be changed'), id + 1, 'the old name is free');
    refused(await call(`PUT /vmware-credentials/${id}`, { credential_name: 'first' }), 409, 'name-taken');
    assert.equal((await credential(id)).credential_name, 'changed');
  });

  test('use a changed password, and the old one is destroyed', async () => {
    const id = await created('rotated', { password: 'outdated' });
    refused(await call(`POST /vmware-credentials/${id}/test`), 422, 'source-refused');
    const kept = await hub.stores.database.vault.selectFrom('secrets').select('reference').execute();
    assert.equal((await call(`PUT /vmware-credentials/${id}`, { password })).status, 200);
    assert.equal((await call(`POST /vmware-credentials/${id}/test`)).status, 200);
    const now = await hub.stores.database.vault.selectFrom('secrets').select('reference').execute();
    assert.equal(now.length, kept.length);
    const before = kept.map(({ reference }) => reference);
    const fresh = now.filter(({ reference }) => !before.includes(reference));
    assert.deepEqual(fresh.length, 1);
  });

  test('have one default, which is active', async () => {
    const [a, b] = [await created('default a', { is_default: true }), await created('default b')];
    const defaults = async () => {
      const { credentials } = (await call('GET /vmware-credentials')).body as {
        credentials: { id: number; is_default: boolean }[];
      };
      return credentials.filter(({ is_default }) => is_default).map(({ id }) => id);
    };
    assert.deepEqual(await defaults(), [a]);
    for (let time = 0; time < 2; time += 1) {
      assert.equal((await call(`PUT /vmware-credentials/${b}/set-default`)).status, 200);
      assert.deepEqual(await defaults(), [b]);
    }
    const { credentials } = (await call('GET /vmware-credentials/default')).body;
    assert.deepEqual(credentials, {
      ...{ id: b, name: 'default b', credential_name: 'default b', vcenter_host: 'vc.example' },
      ...{ username: 'backup', datacenter: 'DC1', is_active: true, is_default: true },
    });
    await call(`PUT /vmware-credentials/${b}`, { is_active: false });
    assert.deepEqual(await defaults(), []);
    refused(await call(`PUT /vmware-credentials/${b}/set-default`), 409, 'credential-inactive');
    refused(await call(`PUT /vmware-credentials/${b}`, { is_default: true }), 409, 'credential-inactive');
    await call(`PUT /vmware-credentials/${b}`, { is_active: true, is_default: true });
    assert.deepEqual(await defaults(), [b]);
    assert.equal((await call(`DELETE /vmware-credentials/${b}`)).status, 200);
    assert.deepEqual(await defaults(), []);
    refused(await call('PUT /vmware-credentials/999/set-default'), 404, 'credential-not-found');
  });

  test('can be created switched off, but not as the default', async () => {
    assert.equal((await credential(await created('off', { is_active: false }))).is_active, false);
    const both = { ...login('off and default'), is_active: false, is_default: true };
    refused(await call('POST /vmware-credentials', both), 409, 'credential-inactive');
    assert.equal((await call('POST /vmware-credentials', login('off and default'))).status, 200, 'the name is free');
  });

  test('are tried against the vCenter, and a failure says so in both ways that clients look for', async () => {
    const id = await created('tried');
    const good = await call(`POST /vmware-credentials/${id}/test`);
    assert.equal(good.status, 200);
    assert.deepEqual({ ...good.body, message: '' }, { success: true, status: 'success', message: '' });
    const { last_used, usage_count } = await credential(id);
    assert.equal(usage_count, 1);
    assert.ok(typeof last_used === 'string');

    const failures: readonly (readonly [() => NodeReply, number, string])[] = [
      [() => ({ status: 500, text: `failed to connect to vCenter: ${password}` }), 422, 'source-refused'],
      [() => ({ status: 500, text: 'failed to find datacenter' }), 422, 'source-refused'],
      [() => ({ status: 200, text: '<html>' }), 502, 'node-error'],
      [() => 'hangs-up', 503, 'node-unreachable'],
      [() => 'silence', 504, 'node-timeout'],
    ];
    for (const [answer, status, code] of failures) {
      hub.node.answerWith(answer);
      const failed = await call(`POST /vmware-credentials/${id}/test`);
      refused(failed, status, code);
      assert.deepEqual([failed.body.success, failed.body.status], [false, 'failed']);
    }
    hub.node.answerWith(hub.vcenter.answer);
  });

  test('are deleted once, with their password, and their number is not given again', async () => {
    const id = await created('short-lived');
    const secrets = () => hub.stores.database.vault.selectFrom('secrets').select('reference').execute();
    const before = (await secrets()).length;
    assert.equal((await call(`DELETE /vmware-credentials/${id}`)).status, 200);
    assert.equal((await secrets()).length, before - 1);
    refused(await call(`DELETE /vmware-credentials/${id}`), 404, 'credential-not-found');
    refused(await call(`GET /vmware-credentials/${id}`), 404, 'credential-not-found');
    assert.equal(await created('short-lived'), id + 1);
  });

  test('never show a password: not in the log of events, the read model, the vault or the log', async () => {
    const events: string[] = [];
    const stop = new AbortController();
    for await (const item of hub.stores.feed.subscribe(0n, {}, stop.signal)) {
      if (item.kind === 'caught-up') break;
      for (const recorded of item.events) events.push(JSON.stringify([recorded.event, recorded.metadata]));
    }
    assert.ok(events.length > 50);
    const { rows } = await hub.stores.database.pool.query<{ name: string; xml: string }>(
      `select nspname::text as name, schema_to_xml(nspname, true, false, '')::text as xml
        from pg_namespace where nspname like 'sendense%'`,
    );
    assert.ok(rows.some(({ name, xml }) => name.startsWith('sendense_read') && xml.includes('rotated')));
    assert.ok(rows.some(({ name, xml }) => name === 'sendense_vault' && xml.includes('<secrets')));
    const tables = rows.map(({ xml }) => xml);
    assert.ok(hub.logged.length > 20);
    for (const text of [...events, ...tables, ...hub.logged]) {
      for (const form of [password, Buffer.from(password).toString('base64'), 'outdated']) {
        assert.ok(!text.includes(form), text.slice(0, 500));
      }
    }
  });
});
