import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fold } from '#domain/decider.ts';
import { createUpcaster } from '#domain/event-versions.ts';
import {
  type CredentialUsageEvent,
  credentialUsageDecider,
  credentialUsageEventVersions,
} from '#domain/vmware-credential/credential-usage.ts';
import {
  type DefaultCredentialEvent,
  defaultCredentialDecider,
  defaultCredentialEventVersions,
} from '#domain/vmware-credential/default-credential.ts';
import {
  type VmwareCredentialEvent,
  vmwareCredentialDecider,
  vmwareCredentialEventVersions,
} from '#domain/vmware-credential/vmware-credential.ts';
import { given } from '../../support/given.ts';

type Stored = Readonly<{ type: string; v: number; data: Readonly<Record<string, unknown>> }>;

const folder = join(import.meta.dirname, 'stored');
const versions = {
  ...vmwareCredentialEventVersions,
  ...defaultCredentialEventVersions,
  ...credentialUsageEventVersions,
};
const upcast = createUpcaster(versions, {});

const read = async <E>(type: string): Promise<E> => {
  const stored: Stored = JSON.parse(await readFile(join(folder, `${type}.v1.json`), 'utf8'));
  return { type: stored.type, data: upcast(stored.type, stored.v, stored.data) } as E;
};

describe('stored events of vCenter logins', () => {
  test('of every type and version are kept', async () => {
    const expected = Object.entries(versions).flatMap(([type, newest]) =>
      Array.from({ length: newest }, (_, index) => `${type}.v${index + 1}.json`),
    );
    assert.deepEqual((await readdir(folder)).sort(), expected.sort());
  });

  test('still tell a login from its creation to its deletion', async () => {
    const types = ['Created', 'DetailsChanged', 'PasswordChanged', 'Deactivated', 'Activated'];
    const history = await Promise.all(types.map((type) => read<VmwareCredentialEvent>(`VmwareCredential${type}`)));
    const state = fold(vmwareCredentialDecider, history);
    assert.deepEqual(state, {
      ...{ status: 'known', credentialId: 3, name: 'Main vCenter', vcenterHost: 'vc.example' },
      ...{ username: 'backup@vsphere.local', datacenter: 'DC1', isActive: true },
      secretRef: 'vmwareCredential-3-0b6f2c1e-3f5d-4a55-9d0a-6b8f1e9c2d34',
    });
    assert.deepEqual(vmwareCredentialDecider.evolve(state, await read('VmwareCredentialDeleted')), {
      status: 'deleted',
    });
  });

  test('still tell the default', async () => {
    const chosen = fold(defaultCredentialDecider, [await read<DefaultCredentialEvent>('DefaultCredentialChosen')]);
    assert.deepEqual(chosen, { credentialId: 3 });
    assert.deepEqual(defaultCredentialDecider.evolve(chosen, await read('DefaultCredentialCleared')), {
      credentialId: null,
    });
  });

  test('still tell how often a login was used', async () => {
    const used = await read<CredentialUsageEvent>('VmwareCredentialUsed');
    assert.deepEqual(fold(credentialUsageDecider, [used]), { usageCount: 41 });
    const at = '2026-01-02T03:04:05.000Z';
    given(credentialUsageDecider, used)
      .when({ type: 'NoteUse', data: { credentialId: 3, purpose: 'test', at } })
      .thenEvents({ type: 'VmwareCredentialUsed', data: { credentialId: 3, purpose: 'test', usageCount: 42, at } });
  });
});
