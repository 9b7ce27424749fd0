import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, test } from 'node:test';
import { createAddVms } from '#commands/add-vms.ts';
import { claimName } from '#commands/claim-name.ts';
import { vmNamed } from './fake-vcenter.ts';
import { createVmsClient, type Wire } from './vms-client.ts';
import { startVmsHub, type VmsHub } from './vms-hub.ts';

describe('a machine that is discovered again', () => {
  let hub: VmsHub;
  let credentialId: number;
  let round = 0;
  /** A name that no other test has. */
  const fresh = (name: string): string => `${name} ${round}`;
  const client = createVmsClient(() => hub);
  const { answered, contextOf, has } = client;

  before(async () => {
    hub = await startVmsHub();
    credentialId = await client.created('main');
  });
  beforeEach(() => {
    round += 1;
    hub.node.answerWith(hub.vcenter.answer);
  });
  after(() => hub.close());

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

  test('adds the one of two new machines of one name, and the other once it has a name of its own', async () => {
    const [name, renamed] = [fresh('twin'), fresh('renamed twin')];
    const twin = { id: `id-of-twin ${name}`, path: `/DC1/vm/other/${name}` };
    has(vmNamed(name), vmNamed(name, twin));
    const body = { credential_id: credentialId, create_context: true };
    const { addition_result } = await answered('POST /discovery/discover-vms', body);
    const { added_vms, skipped_vms } = addition_result as { added_vms: Wire[]; skipped_vms: Wire[] };
    assert.deepEqual([added_vms.length, skipped_vms.length], [1, 1]);
    assert.equal(skipped_vms[0]?.existing_context_id, added_vms[0]?.context_id);
    const left = skipped_vms[0]?.vm_path === twin.path ? twin : { id: `id-of-${name}` };
    has(vmNamed(renamed, left));
    const again = await answered('POST /discovery/add-vms', { credential_id: credentialId, vm_names: [renamed] });
    assert.equal(again.vms_added, 1, JSON.stringify(again));
  });

  test('adds a machine whose name a hub claimed that died, once that is certain', async () => {
    const name = fresh('orphan');
    const { store } = hub.stores;
    const clockAfter = (ms: number) => ({ now: () => new Date(Date.now() + ms).toISOString() });
    const context = (commandId: string) => ({ actor: 'test', correlationId: commandId, commandId });
    const claim = { kind: 'vmName', name, holder: `ctx-${name}-dead`, holderLives: async () => true } as const;
    await claimName({ store, clock: clockAfter(0) }, claim, context('dead hub'));
    const disks = [{ id: 'disk-2000', label: '', path: '', sizeGb: 1, capacityBytes: 1, datastore: '' }];
    const vm = {
      ...{ id: `id-of-${name}`, name, path: `/DC1/vm/${name}`, powerState: '', guestOs: '', memoryMb: 1, cpuCount: 1 },
      ...{ vmxVersion: '', toolsVersion: '', networks: [] },
      disks: disks.map((disk) => ({ ...disk, unitNumber: null, provisioningType: null })),
    };
    const discovery = { vcenterHost: 'vc.example', datacenter: 'DC1', vms: [vm] };
    const selection = { discovery, wanted: undefined, credentialId: null, addedBy: 'test' };
    const addAfter = async (ms: number) => {
      const { outcomes } = await createAddVms({ store, clock: clockAfter(ms) })(selection, context(`after ${ms} ms`));
      return outcomes.map(({ outcome }) => outcome);
    };
    assert.deepEqual(await addAfter(0), ['skipped']);
    assert.deepEqual(await addAfter(60_000), ['added']);
    assert.deepEqual(await addAfter(120_000), ['skipped']);
  });
});
