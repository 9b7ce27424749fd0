import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  type DiscoveredVm,
  factsOf,
  missingOf,
  osTypeOf,
  powerStateOf,
  vmContextIdFor,
} from '#domain/vm-context/discovered-vm.ts';

const disk = (id: string) => ({
  ...{ id, label: `Hard disk ${id}`, path: `[ds1] ${id}.vmdk`, sizeGb: 1, capacityBytes: 1024 },
  ...{ datastore: 'ds1', unitNumber: null, provisioningType: null },
});
const vm: DiscoveredVm = {
  ...{ id: 'vm-1', name: 'My VM 01', path: '/DC1/vm/My VM 01', powerState: 'poweredOff', guestOs: 'Ubuntu (64-bit)' },
  ...{ memoryMb: 2048, cpuCount: 2, vmxVersion: 'vmx-19', toolsVersion: '' },
  disks: [disk('disk-2010'), disk('disk-2000'), disk('disk-2002')],
  networks: [],
};
const from = { vcenterHost: 'vc.example', datacenter: 'DC1', vms: [vm] };

describe('a discovered virtual machine', () => {
  test('belongs to a family of guest systems', () => {
    const families = {
      ...{ windows: ['windows', 'Microsoft Windows Server 2022'], linux: ['linux', 'rhel9_64Guest', 'CentOS 7'] },
      ...{ macos: ['darwin21_64Guest', 'Apple macOS 12'], unknown: ['', ' ', 'unknown'], other: ['freebsd13_64Guest'] },
    };
    for (const [family, names] of Object.entries(families)) {
      for (const name of names) assert.equal(osTypeOf(name), family, name);
    }
  });

  test('has a power state that people know', () => {
    assert.deepEqual(['poweredOn', 'poweredOff', 'suspended', 'standby', ''].map(powerStateOf), [
      ...['poweredOn', 'poweredOff', 'suspended', 'unknown', 'unknown'],
    ]);
  });

  test("lists its disks in the order of VMware's keys", () =>
    assert.deepEqual(
      factsOf(from, vm).disks.map(({ diskId }) => diskId),
      ['disk-2000', 'disk-2002', 'disk-2010'],
    ));

  test('is told to lack what management cannot do without', () => {
    assert.deepEqual(missingOf(from, vm), []);
    assert.deepEqual(missingOf({ ...from, vcenterHost: '', datacenter: ' ' }, { ...vm, name: '', id: '', path: '' }), [
      ...['name', 'id', 'path', 'vCenter host', 'datacenter'],
    ]);
    for (const ids of [
      ['disk-2000', ''],
      ['disk-2000', 'disk-2000'],
    ]) {
      assert.deepEqual(missingOf(from, { ...vm, disks: ids.map(disk) }), ['own id for each disk']);
    }
  });

  test('gets an id made of its name and the time, numbered when that is taken', () => {
    assert.equal(vmContextIdFor('My VM 01', '2025-10-06T20:34:01.250Z', 1), 'ctx-My VM 01-20251006-203401');
    assert.equal(vmContextIdFor('My VM 01', '2025-10-06T20:34:01.250Z', 2), 'ctx-My VM 01-20251006-203401-2');
  });
});
