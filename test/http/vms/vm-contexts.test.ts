import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import type { BackupEvent } from '#domain/backup/events.ts';
import { streamOf } from '#domain/streams.ts';
import { vmNamed } from './fake-vcenter.ts';
import { createVmsClient, typedIn, type Wire } from './vms-client.ts';
import { startVmsHub, type VmsHub } from './vms-hub.ts';

describe('managed virtual machines', () => {
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
    const disk = {
      ...{ index: 0, key: 2000, capacityBytes: 1024, originalPath: '[ds1] a.vmdk', exportName: 'a-disk-2000' },
      ...{ imagePath: '/srv/repo/a.qcow2', base: null },
    };
    const job = (backupId: string, at: string): BackupEvent => ({
      type: 'BackupStarted',
      data: {
        ...{ backupId, at, vmContextId: contextId, vmName: name, vmPath: `/DC1/vm/${name}`, backupContextId: 'ctx-b' },
        ...{ credentialId, repositoryId: 'repo', repositoryPath: '/srv/repo', backupType: 'full' as const },
        ...{ parentBackupId: null, policyId: null, tags: {}, disks: [disk] },
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
});
