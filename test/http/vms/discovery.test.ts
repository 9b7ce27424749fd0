import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { load } from '#commands/handle.ts';
import { streamOf } from '#domain/streams.ts';
import { vmContextDecider } from '#domain/vm-context/vm-context.ts';
import type { NodeReply } from '../../support/fake-node.ts';
import { vmNamed } from './fake-vcenter.ts';
import { createVmsClient, password, typedIn, type Wire } from './vms-client.ts';
import { startVmsHub, type VmsHub } from './vms-hub.ts';

describe('discovery', () => {
  let hub: VmsHub;
  let credentialId: number;
  let round = 0;
  /** A name that no other test has. */
  const fresh = (name: string): string => `${name} ${round}`;
  const client = createVmsClient(() => hub);
  const { call, answered, refused, contextOf, has } = client;

  before(async () => {
    hub = await startVmsHub();
    credentialId = await client.created('main');
  });
  beforeEach(() => {
    round += 1;
    hub.node.answerWith(hub.vcenter.answer);
  });
  after(() => hub.close());

  test('tells what a vCenter holds and writes nothing', async () => {
    const [a, b] = [fresh('web'), fresh('db')];
    has(vmNamed(a), vmNamed(b, { vmx_version: '', disks: null, networks: null }));
    const found = await answered('POST /discovery/discover-vms', { credential_id: credentialId });
    const { processing_time, ...rest } = found;
    assert.ok(Number.isInteger(processing_time));
    const disk = (index: number) => ({
      ...{ id: `disk-${2000 + index}`, label: `Hard disk ${index + 1}`, path: `[ds1] ${a}/${a}_${index}.vmdk` },
      ...{ size_gb: 102, capacity_bytes: 109521666048, datastore: 'ds1' },
    });
    const facts = { power_state: 'poweredOn', guest_os: 'windows', memory_mb: 8192, num_cpu: 2, existing: false };
    assert.deepEqual(rest, {
      discovered_vms: [
        {
          ...{ id: `id-of-${a}`, name: a, path: `/DC1/vm/${a}`, vmx_version: 'vmx-19', ...facts },
          disks: [disk(0), disk(1)],
          networks: [{ label: 'Network adapter 1', network_name: 'VLAN 253', mac_address: '00:50:56:85:3c:59' }],
        },
        { id: `id-of-${b}`, name: b, path: `/DC1/vm/${b}`, ...facts, disks: [], networks: [] },
      ],
      ...{ discovery_count: 2, status: 'success', message: '2 virtual machines found' },
    });
    refused(await call(`GET /vm-contexts/${encodeURIComponent(a)}`), 404, 'vm-not-found');
  });

  test('counts the use of a saved credential', async () => {
    has();
    const uses = async () => Number((await answered(`GET /vmware-credentials/${credentialId}`)).usage_count);
    const before = await uses();
    await answered('POST /discovery/preview', { credential_id: credentialId });
    const deadline = Date.now() + 5_000;
    while ((await uses()) === before && Date.now() < deadline);
    assert.equal(await uses(), before + 1);
  });

  test('adds what is chosen from the very answer that it tells', async () => {
    const [a, b] = [fresh('web'), fresh('db')];
    has(vmNamed(a), vmNamed(b, { guest_os: 'ubuntu64Guest', vmware_tools_version: '12352', power_state: 'standby' }));
    const asked = hub.node.requests.length;
    const body = { credential_id: credentialId, create_context: true, selected_vms: [b] };
    const found = await answered('POST /discovery/discover-vms', body);
    assert.equal(hub.node.requests.length, asked + 1);
    const result = found.addition_result as Wire;
    const [added] = result.added_vms as [Wire];
    assert.match(String(added.context_id), new RegExp(`^ctx-${b}-\\d{8}-\\d{6}$`));
    assert.deepEqual(added, {
      ...{ context_id: added.context_id, vm_name: b, vm_path: `/DC1/vm/${b}`, status: 'discovered', auto_added: true },
      ...{ cpu_count: 2, memory_mb: 8192, os_type: 'linux', power_state: 'unknown' },
    });
    const { total_requested, successfully_added, skipped, failed } = result;
    assert.deepEqual([total_requested, successfully_added, skipped, failed], [1, 1, 0, 0]);
    assert.deepEqual(
      (found.discovered_vms as Wire[]).map(({ existing, context_id }) => [existing, context_id]),
      [
        [false, undefined],
        [true, added.context_id],
      ],
    );
    const again = await answered('POST /discovery/discover-vms', body);
    assert.deepEqual((again.addition_result as Wire).skipped_vms, [
      {
        ...{ vm_name: b, vm_path: `/DC1/vm/${b}`, existing_context_id: added.context_id },
        reason: 'a virtual machine of this name is managed already',
      },
    ]);
  });

  test('reports each name that was asked for: added, managed already, not there', async () => {
    const [a, b] = [fresh('web'), fresh('web2')];
    has(vmNamed(a), vmNamed(b));
    await answered('POST /discovery/add-vms', { credential_id: credentialId, vm_names: [a] });
    const body = { credential_id: credentialId, vm_names: [a, b, 'nowhere', b], added_by: 'gui-user' };
    const { added_at: _, ...reply } = await answered('POST /discovery/add-vms', body);
    const [one, two] = [await contextOf(a), await contextOf(b)];
    assert.deepEqual(reply, {
      ...{ success: true, message: '1 virtual machine added, 1 failed', vms_added: 1, vms_failed: 1, total_vms: 3 },
      processed_vms: [
        { vm_name: a, success: true, context_id: one.context_id, skipped: true },
        { vm_name: b, success: true, context_id: two.context_id },
        { vm_name: 'nowhere', success: false, error: 'vCenter has no virtual machine of this name' },
      ],
    });
    const { events } = await hub.stores.store.read(streamOf.vmContext(String(two.context_id)));
    assert.equal((events[0]?.event.data as Wire | undefined)?.addedBy, 'gui-user');
    const failed = await answered('POST /discovery/add-vms', { credential_id: credentialId, vm_names: ['nowhere'] });
    assert.equal(failed.success, false);
  });

  test('matches names exactly, whatever the filter let through, and names with commas', async () => {
    const name = fresh('app, main');
    has(vmNamed(`${name} (old)`), vmNamed(name));
    const reply = await answered('POST /discovery/add-vms', { ...typedIn, vm_names: [name] });
    assert.equal(reply.vms_added, 1);
    assert.equal((await contextOf(name)).vmware_vm_id, `id-of-${name}`);
    refused(await call(`GET /vm-contexts/${encodeURIComponent(`${name} (old)`)}`), 404, 'vm-not-found');
  });

  test('gives a machine without a credential the one of a later add', async () => {
    const name = fresh('late');
    has(vmNamed(name));
    const bulk = await answered('POST /discovery/bulk-add', { ...typedIn, selected_vms: [name] });
    assert.equal(bulk.successfully_added, 1);
    const { context_id, credential_id } = await contextOf(name);
    assert.equal(credential_id, null);
    await answered('POST /discovery/add-vms', { credential_id: credentialId, vm_names: [name] });
    assert.equal((await contextOf(name)).credential_id, credentialId);
    const { state } = await load(hub.stores.store, vmContextDecider, streamOf.vmContext(String(context_id)));
    assert.equal(state.status === 'managed' && state.credentialId, credentialId);
    refused(await call(`DELETE /vmware-credentials/${credentialId}`), 409, 'credential-in-use');
  });

  test('keeps a machine that lacks something out, and not the others', async () => {
    const [whole, broken] = [fresh('whole'), fresh('broken')];
    has(vmNamed(broken, { id: '', path: null }), vmNamed(whole), vmNamed(fresh('nul\u0000'), { disks: [] }));
    const body = { credential_id: credentialId, create_context: true };
    const { addition_result, status } = await answered('POST /discovery/discover-vms', body);
    const { successfully_added, failed_vms } = addition_result as Wire;
    assert.deepEqual([status, successfully_added], ['success', 2]);
    assert.deepEqual(failed_vms, [{ vm_name: broken, vm_path: '', error: 'the discovery tells no id, no path of it' }]);
  });

  test('previews with or without a saved credential, and passes the filter on', async () => {
    const [a, b] = [fresh('web'), fresh('db')];
    has(vmNamed(a), vmNamed(b));
    const preview = await answered('POST /discovery/preview', { ...typedIn, filter: 'WEB' });
    assert.deepEqual(
      (preview.vms as Wire[]).map(({ name, existing }) => [name, existing]),
      [[a, false]],
    );
    assert.deepEqual([preview.vcenter, preview.datacenter, preview.filter], ['vc.example', 'DC1', 'WEB']);
    assert.equal((await answered('POST /discovery/preview', { credential_id: credentialId })).total_discovered, 2);
  });

  test('asks for whatever is missing by name', async () => {
    const reply = await call('POST /discovery/discover-vms', { vcenter: 'vc.example', credential_id: 0, username: '' });
    refused(reply, 400, 'invalid-request');
    assert.equal(
      reply.body.error,
      'Invalid request: username is required; password is required; datacenter is required',
    );
    refused(await call('POST /discovery/add-vms', { credential_id: credentialId }), 400, 'invalid-request');
    refused(
      await call('POST /discovery/add-vms', { credential_id: credentialId, vm_names: [] }),
      400,
      'invalid-request',
    );
    refused(await call('POST /discovery/bulk-add', { ...typedIn, selected_vms: [] }), 400, 'invalid-request');
    const { password: _, ...without } = typedIn;
    refused(await call('POST /discovery/bulk-add', { ...without, selected_vms: ['a'] }), 400, 'invalid-request');
    refused(await call('POST /discovery/preview', '{'), 400, 'invalid-request');
  });

  test('refuses a credential that does not exist or is switched off', async () => {
    refused(await call('POST /discovery/discover-vms', { credential_id: 999 }), 422, 'credential-unusable');
    const off = {
      credential_name: 'off',
      vcenter_host: 'v',
      username: 'u',
      password,
      datacenter: 'D',
      is_active: false,
    };
    const { id } = (await call('POST /vmware-credentials', off)).body.credential as { id: number };
    refused(await call('POST /discovery/add-vms', { credential_id: id, vm_names: ['a'] }), 422, 'credential-unusable');
  });

  test('tells what went wrong at the node, without the password', async () => {
    const wrong = { ...typedIn, password: 'Geheim-7731-wrong' };
    const login = await call('POST /discovery/discover-vms', wrong);
    refused(login, 422, 'source-refused');
    assert.match(String(login.body.details), /cannot log in with \[redacted\]/);
    refused(await call('POST /discovery/preview', { ...typedIn, datacenter: 'DC9' }), 422, 'source-refused');
    const failures: readonly (readonly [NodeReply, number, string])[] = [
      [{ status: 500, text: `panic with ${password}` }, 502, 'node-error'],
      [{ status: 200, text: '<html>not me</html>' }, 502, 'node-error'],
      ['endless', 502, 'node-error'],
      ['hangs-up', 503, 'node-unreachable'],
      ['silence', 504, 'node-timeout'],
      ['stalls-in-the-body', 504, 'node-timeout'],
    ];
    for (const [reply, status, code] of failures) {
      hub.node.answerWith(() => reply);
      for (const route of ['discover-vms', 'preview'])
        refused(await call(`POST /discovery/${route}`, typedIn), status, code);
    }
    hub.node.answerWith(() => ({ status: 500, text: `panic with ${password}` }));
    const failed = await call('POST /discovery/preview', typedIn);
    assert.match(String(failed.body.details), /panic with \[redacted\]/);
  });

  test('never writes the password down', () => {
    for (const line of hub.logged) assert.ok(!line.includes(password), line.slice(0, 500));
  });
});
