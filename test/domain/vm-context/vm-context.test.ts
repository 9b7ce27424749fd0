import { describe, test } from 'node:test';
import { type VmContextEvent, type VmFacts, vmContextDecider } from '#domain/vm-context/vm-context.ts';
import { given } from '../../support/given.ts';

const at = '2026-01-02T03:04:05.000Z';
const disk = {
  ...{ diskId: 'disk-2000', capacityBytes: 1024, sizeGb: 1, vmdkPath: '[ds1] a.vmdk', datastore: 'ds1' },
  ...{ label: 'Hard disk 1', unitNumber: 0, provisioningType: 'thin' },
};
const facts: VmFacts & Readonly<{ contextId: string; addedBy: string; at: string }> = {
  ...{ contextId: 'ctx-a-20260102-030405', vmName: 'a', vmwareVmId: 'vm-1', vmPath: '/DC1/vm/a' },
  ...{ vcenterHost: 'vc.example', datacenter: 'DC1', osType: 'linux', cpuCount: 2, memoryMb: 2048 },
  ...{ powerState: 'poweredOn', vmToolsVersion: null, disks: [disk], addedBy: 'user:admin', at },
};
const added = (credentialId: number | null): VmContextEvent => ({ type: 'VmAdded', data: { ...facts, credentialId } });
const linked = (credentialId: number): VmContextEvent => ({
  type: 'VmCredentialLinked',
  data: { contextId: facts.contextId, credentialId, at },
});
const link = (more: Readonly<{ vcenterHost?: string; goneCredentialId?: number }> = {}) =>
  ({
    type: 'LinkCredential',
    data: { contextId: facts.contextId, credentialId: 7, vcenterHost: 'vc.example', at, ...more },
  }) as const;

describe('a managed virtual machine', () => {
  test('comes under management with its disks and its credential, in one fact', () =>
    given(vmContextDecider)
      .when({ type: 'AddVm', data: { ...facts, credentialId: 3 } })
      .thenEvents(added(3)));

  test('is added once, however often', () =>
    given(vmContextDecider, added(3))
      .when({ type: 'AddVm', data: { ...facts, credentialId: null } })
      .thenNothing());

  test('keeps its id from another machine', () => {
    given(vmContextDecider, added(3))
      .when({ type: 'AddVm', data: { ...facts, vmwareVmId: 'vm-2', credentialId: 3 } })
      .thenRefused('name-taken');
  });

  test('without a credential gets the one that it was found with later', () =>
    given(vmContextDecider, added(null)).when(link()).thenEvents(linked(7)));

  test('keeps the credential that it has', () => given(vmContextDecider, added(3)).when(link()).thenNothing());

  test('gets another credential when its own exists no more', () =>
    given(vmContextDecider, added(3))
      .when(link({ goneCredentialId: 3 }))
      .thenEvents(linked(7)));

  test('keeps the credential that it got since the old one went', () =>
    given(vmContextDecider, added(3), linked(5))
      .when(link({ goneCredentialId: 3 }))
      .thenNothing());

  test("never gets another vCenter's credential", () =>
    given(vmContextDecider, added(null))
      .when(link({ vcenterHost: 'other.example' }))
      .thenNothing());

  test('is linked once', () => given(vmContextDecider, added(null), linked(7)).when(link()).thenNothing());
});
