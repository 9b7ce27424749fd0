import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { type VmwareCredentialEvent, vmwareCredentialDecider } from '#domain/vmware-credential/vmware-credential.ts';
import { given } from '../../support/given.ts';

const at = '2026-01-02T03:04:05.000Z';
const details = { name: 'Production', vcenterHost: 'vc.example', username: 'backup', datacenter: 'DC1' };
const data = { credentialId: 3, ...details, isActive: true, secretRef: 'ref-1', createdBy: 'user:admin', at };
const created: VmwareCredentialEvent = { type: 'VmwareCredentialCreated', data };
const deactivated: VmwareCredentialEvent = { type: 'VmwareCredentialDeactivated', data: { credentialId: 3, at } };
const deleted: VmwareCredentialEvent = { type: 'VmwareCredentialDeleted', data: { credentialId: 3, at } };
const change = (facts: object) => ({ type: 'ChangeCredential', data: { credentialId: 3, at, ...facts } }) as const;
const remove = (vmsUsingIt: number, otherActiveCredentials: number) =>
  ({ type: 'DeleteCredential', data: { credentialId: 3, at, vmsUsingIt, otherActiveCredentials } }) as const;

describe('a saved vCenter login', () => {
  test('is created once', () => {
    given(vmwareCredentialDecider).when({ type: 'CreateCredential', data }).thenEvents(created);
    given(vmwareCredentialDecider, created).when({ type: 'CreateCredential', data }).thenNothing();
    given(vmwareCredentialDecider, created, deleted).when({ type: 'CreateCredential', data }).thenNothing();
  });

  test('changes only in what is given', () =>
    given(vmwareCredentialDecider, created)
      .when(change({ username: 'backup2' }))
      .thenEvents({
        type: 'VmwareCredentialDetailsChanged',
        data: { credentialId: 3, ...details, username: 'backup2', at },
      }));

  test('tells a new password by its reference, and only that it is new', () =>
    given(vmwareCredentialDecider, created)
      .when(change({ secretRef: 'ref-2', isActive: true }))
      .thenEvents({ type: 'VmwareCredentialPasswordChanged', data: { credentialId: 3, secretRef: 'ref-2', at } }));

  test('is switched off and on', () => {
    given(vmwareCredentialDecider, created)
      .when(change({ isActive: false }))
      .thenEvents(deactivated);
    given(vmwareCredentialDecider, created, deactivated)
      .when(change({ isActive: true }))
      .thenEvents({ type: 'VmwareCredentialActivated', data: { credentialId: 3, at } });
  });

  test('does not change when it is given what it is', () =>
    given(vmwareCredentialDecider, created)
      .when(change({ ...details, isActive: true }))
      .thenNothing());

  test('is deleted when no virtual machine uses it and another one is active', () =>
    given(vmwareCredentialDecider, created).when(remove(0, 1)).thenEvents(deleted));

  test('is kept while virtual machines use it, and says how many', () => {
    const refusal = given(vmwareCredentialDecider, created).when(remove(4, 1)).thenRefused('credential-in-use');
    assert.match(refusal.message, /4 virtual machines/);
  });

  test('is kept when it is the last active one, but not for that when it is switched off', () => {
    given(vmwareCredentialDecider, created).when(remove(0, 0)).thenRefused('credential-last-active');
    given(vmwareCredentialDecider, created, deactivated).when(remove(0, 0)).thenEvents(deleted);
  });

  test('is not found before it is created and after it is deleted', () => {
    for (const history of [[], [created, deleted]]) {
      given(vmwareCredentialDecider, ...history)
        .when(change({ name: 'x' }))
        .thenRefused('credential-not-found');
      given(vmwareCredentialDecider, ...history)
        .when(remove(0, 1))
        .thenRefused('credential-not-found');
    }
  });
});
