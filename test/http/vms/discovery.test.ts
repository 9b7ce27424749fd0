import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { load } from '#commands/handle.ts';
import type { BackupEvent } from '#domain/backup/events.ts';
import { streamOf } from '#domain/streams.ts';
import { vmContextDecider } from '#domain/vm-context/vm-context.ts';
import type { NodeReply } from '../../support/fake-node.ts';
import { type FakeVm, vmNamed } from './fake-vcenter.ts';
import { type Reply, startVmsHub, type VmsHub } from './vms-hub.ts';

const password = 'Geheim-7731';
const typedIn = { vcenter: 'vc.example', username: 'backup', password, datacenter: 'DC1' };

type Wire = Record<string, unknown>;

describe('discovery', () => {
  let hub: VmsHub;
  let credentialId: number;
  let round = 0;
  /** A name that no other test has. */
  const fresh = (name: string): string => `${name} ${round}`;
  const call: VmsHub['call'] = (...args) => hub.call(...args);
  const has = (...vms: readonly FakeVm[]): void => {
    hub.vcenter.vms = vms;
  };
  const answered = async (route: string, body?: unknown): Promise<Wire> => {
    const reply = await call(route, body);
    assert.equal(reply.status, 200, JSON.stringify(reply.body));
    return reply.body;
  };
  const refused = (reply: Reply, status: number, code: string): void => {
    assert.equal(reply.status, status, JSON.stringify(reply.body));
    assert.equal(reply.headers.get('x-error-code'), code);
    assert.ok(!JSON.stringify(reply.body).includes(password));
  };
  const contextOf = async (name: string): Promise<Wire> =>
    (await answered(`GET /vm-contexts/${encodeURIComponent(name)}`)).context as Wire;

  before(async () => {
    hub = await startVmsHub();
    hub.vcenter.password = password;
    const login = {
      credential_name: 'main',
      vcenter_host: 'vc.example',
      username: 'backup',
      password,
      datacenter: 'DC1',
    };
    const reply = await call('POST /vmware-credentials', login);
    credentialId = (reply.body.credential as { id: number }).id;
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

  test('gives a managed machine every key, its credential and its disks', async () => {
    const name = fresh('My VM');
    has(vmNamed(name));
    await answered('POST /discovery/add-vms', { credential_id: credentialId, vm_names: [name] });
    const { context, disks, job_history, cbt_history } = await answered(`GET /vm-contexts/${encodeURIComponent(name)}`);
    const { context_id, created_at, updated_at, last_status_change, ...rest } = context as Wire;
    assert.ok(created_at === updated_at && created_at === last_status_change);
    const facts = { cpu_count: 2, memory_mb: 8192, os_type: 'windows', power_state: 'poweredOn' };
    assert.deepEqual(rest, {
      ...{ vm_name: name, vmware_vm_id: `id-of-${name}`, vm_path: `/DC1/vm/${name}`, vcenter_host: 'vc.example' },
      ...{ datacenter: 'DC1', current_status: 'discovered', current_job_id: null, last_successful_job_id: null },
      ...{ last_scheduled_job_id: null, total_jobs_run: 0, successful_jobs: 0, failed_jobs: 0, ...facts },
      ...{ vm_tools_version: null, first_job_at: null, last_job_at: null, next_scheduled_at: null },
      ...{ auto_added: true, scheduler_enabled: true, ossea_config_id: null, credential_id: credentialId },
      last_operation_summary: null,
    });
    assert.deepEqual([job_history, cbt_history], [[], []]);
    const [first, second] = disks as [Wire, Wire];
    assert.equal(Number(second.id), Number(first.id) + 1);
    assert.deepEqual(first, {
      ...{ id: first.id, job_id: null, vm_context_id: context_id, disk_id: 'disk-2000', size_gb: 102 },
      ...{ vmdk_path: `[ds1] ${name}/${name}_0.vmdk`, datastore: 'ds1', unit_number: 0, label: 'Hard disk 1' },
      ...{ capacity_bytes: 109521666048, provisioning_type: 'thin', ossea_volume_id: null, ...facts },
      ...{ vm_tools_version: null, network_config: null, display_name: name, annotation: null },
      ...{ vmware_uuid: `id-of-${name}`, bios_setup: null, disk_change_id: null, sync_status: 'pending' },
      ...{ sync_progress_percent: 0, bytes_synced: 0, created_at, updated_at: created_at },
    });
    const byId = `/vm-contexts/by-id/${encodeURIComponent(String(context_id))}`;
    assert.deepEqual((await answered(`GET ${byId}`)).context, context);
    assert.deepEqual(await answered(`GET /vm-contexts/${encodeURIComponent(String(context_id))}/disks`), {
      disks: [
        { disk_id: 'disk-2000', size_gb: 102 },
        { disk_id: 'disk-2001', size_gb: 102 },
      ],
      count: 2,
    });
    const { vm_contexts } = (await answered('GET /vm-contexts')) as { vm_contexts: Wire[] };
    assert.deepEqual(
      vm_contexts.find((listed) => listed.context_id === context_id),
      { ...(context as Wire), groups: [], group_count: 0 },
    );
  });

  test('lists machines without a group under both names', async () => {
    const [a, b] = [fresh('zz'), fresh('aa')];
    has(vmNamed(a), vmNamed(b));
    await answered('POST /discovery/add-vms', { ...typedIn, vm_names: [a, b] });
    const { retrieved_at: _, ...listed } = await answered('GET /discovery/ungrouped-vms');
    const vms = listed.vms as Wire[];
    assert.equal(listed.count, vms.length);
    const names = vms.map(({ vm_name }) => String(vm_name));
    assert.ok(names.indexOf(b) < names.indexOf(a));
    const context = await contextOf(a);
    assert.deepEqual(vms[names.indexOf(a)], {
      ...{ context_id: context.context_id, vm_name: a, vmware_vm_id: `id-of-${a}`, vm_path: `/DC1/vm/${a}` },
      ...{ vcenter_host: 'vc.example', datacenter: 'DC1', current_status: 'discovered', auto_added: true },
      ...{ scheduler_enabled: true, cpu_count: 2, memory_mb: 8192, os_type: 'windows', power_state: 'poweredOn' },
      ...{ created_at: context.created_at, last_job_at: null },
    });
    const { retrieved_at: __, vm_contexts, ...alias } = await answered('GET /vm-contexts/ungrouped');
    assert.deepEqual([alias, vm_contexts], [listed, vms]);
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

  test('adds a machine once, however many ask at the same time', async () => {
    const names = ['one', 'two', 'three'].map(fresh);
    has(...names.map((name) => vmNamed(name)));
    const body = { credential_id: credentialId, vm_names: names };
    const replies = await Promise.all([1, 2, 3, 4].map(() => answered('POST /discovery/add-vms', body)));
    const added = replies.reduce((sum, { vms_added }) => sum + Number(vms_added), 0);
    assert.equal(added, names.length);
    const { vm_contexts } = (await answered('GET /vm-contexts')) as { vm_contexts: Wire[] };
    for (const name of names) assert.equal(vm_contexts.filter(({ vm_name }) => vm_name === name).length, 1);
    const told = replies.map(({ processed_vms }) => (processed_vms as Wire[]).map(({ context_id }) => context_id));
    for (const ids of told) assert.deepEqual(ids, told[0]);
  });

  test('knows a machine that was renamed since, and two machines of one name', async () => {
    const [name, renamed] = [fresh('old'), fresh('new')];
    has(vmNamed(name));
    await answered('POST /discovery/add-vms', { credential_id: credentialId, vm_names: [name] });
    const { context_id } = await contextOf(name);
    has(vmNamed(renamed, { id: `id-of-${name}` }), vmNamed(name, { id: 'another', path: `/DC1/vm/other/${name}` }));
    const preview = await answered('POST /discovery/preview', { credential_id: credentialId });
    assert.deepEqual([preview.total_discovered, preview.new_vms, preview.existing_vms], [2, 0, 2]);
    const body = { credential_id: credentialId, create_context: true };
    const { addition_result } = await answered('POST /discovery/discover-vms', body);
    assert.deepEqual((addition_result as Wire).skipped_vms, [
      {
        ...{ vm_name: renamed, vm_path: `/DC1/vm/${renamed}`, existing_context_id: context_id },
        reason: 'this virtual machine is managed already, under another name',
      },
      {
        ...{ vm_name: name, vm_path: `/DC1/vm/other/${name}`, existing_context_id: context_id },
        reason: 'a virtual machine of this name is managed already',
      },
    ]);
    has(vmNamed(renamed));
    const free = await answered('POST /discovery/add-vms', { credential_id: credentialId, vm_names: [renamed] });
    assert.equal(free.vms_added, 1, 'the name that was refused is free');
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

  test('finds no machine that is not managed', async () => {
    for (const path of ['nobody', 'by-id/nobody', 'nobody/disks', 'nobody/recent-jobs', '%2e%2e%2fetc']) {
      refused(await call(`GET /vm-contexts/${path}`), 404, 'vm-not-found');
    }
    refused(await call('GET /vm-contexts/a%00b'), 400, 'invalid-request');
  });

  test('shows the recent backups of a machine, without the names of tools and files', async () => {
    const name = fresh('backed up');
    has(vmNamed(name));
    await answered('POST /discovery/add-vms', { credential_id: credentialId, vm_names: [name] });
    const contextId = String((await contextOf(name)).context_id);
    const recent = `GET /vm-contexts/${encodeURIComponent(contextId)}/recent-jobs`;
    assert.deepEqual(await answered(recent), { context_id: contextId, jobs: [], count: 0 });
    const job = (backupId: string, at: string): BackupEvent => ({
      type: 'BackupStarted',
      data: {
        ...{ backupId, at, vmContextId: contextId, vmName: name, vmPath: `/DC1/vm/${name}`, backupContextId: 'ctx-b' },
        ...{ credentialId, repositoryId: 'repo', repositoryPath: '/srv/repo', backupType: 'full' as const },
        ...{ parentBackupId: null, policyId: null, tags: {}, disks: [] },
      },
    });
    const failure: BackupEvent = {
      type: 'BackupFailed',
      data: {
        ...{ backupId: 'backup-a', at: '2026-01-01T00:01:30.000Z', kind: 'export' as const, facts: {} },
        reason: 'qemu-nbd: Failed to open /srv/repo/a.qcow2: No space left on device',
      },
    };
    const context = { actor: 'test', correlationId: 'test', commandId: contextId };
    const { store } = hub.stores;
    await store.append(
      streamOf.backup('backup-a'),
      [job('backup-a', '2026-01-01T00:00:00.000Z'), failure],
      -1n,
      context,
    );
    const later = [job('backup-b', '2026-01-02T00:00:00.000Z')];
    const { position } = await store.append(streamOf.backup('backup-b'), later, -1n, context);
    assert.ok(await hub.passed(position));
    assert.deepEqual(await answered(recent), {
      context_id: contextId,
      jobs: [
        {
          ...{ job_id: 'backup-b', job_type: 'backup', status: 'running', progress: 0, display_name: 'Full Backup' },
          ...{ started_at: '2026-01-02T00:00:00.000Z', current_step: 'Preparing Backup', data_source: 'backup_jobs' },
        },
        {
          ...{ job_id: 'backup-a', job_type: 'backup', status: 'failed', progress: 0, display_name: 'Full Backup' },
          ...{ started_at: '2026-01-01T00:00:00.000Z', completed_at: '2026-01-01T00:01:30.000Z' },
          ...{ duration_seconds: 90, data_source: 'backup_jobs', error_category: 'storage' },
          error_message: 'the disk transfer: Failed to open [path]: No space left on device',
        },
      ],
      count: 2,
    });
  });

  test('never writes the password down', () => {
    for (const line of hub.logged) assert.ok(!line.includes(password), line.slice(0, 500));
  });
});
