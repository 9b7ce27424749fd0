import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fold } from '#domain/decider.ts';
import { createUpcaster } from '#domain/event-versions.ts';
import { type VmContextEvent, vmContextDecider, vmContextEventVersions } from '#domain/vm-context/vm-context.ts';

type Stored = Readonly<{ type: string; v: number; data: Readonly<Record<string, unknown>> }>;

const folder = join(import.meta.dirname, 'stored');
const upcast = createUpcaster(vmContextEventVersions, {});

const read = async (name: string): Promise<VmContextEvent> => {
  const { type, v, data }: Stored = JSON.parse(await readFile(join(folder, name), 'utf8'));
  return { type, data: upcast(type, v, data) } as VmContextEvent;
};

describe('stored events of virtual machines', () => {
  test('of every type and version are kept', async () => {
    const expected = Object.entries(vmContextEventVersions).flatMap(([type, newest]) =>
      Array.from({ length: newest }, (_, index) => `${type}.v${index + 1}.json`),
    );
    assert.deepEqual((await readdir(folder)).sort(), expected.sort());
  });

  test('still tell what a backup needs to know', async () => {
    const state = fold(vmContextDecider, [await read('VmAdded.v1.json'), await read('VmCredentialLinked.v1.json')]);
    assert.deepEqual(state, {
      ...{ status: 'managed', contextId: 'ctx-pgtest1-20251006-203401', vmName: 'pgtest1', vmPath: '/DC1/vm/pgtest1' },
      ...{ vmwareVmId: '420570c7-f61f-a930-77c5-1e876786cb3c', vcenterHost: 'vc.example', datacenter: 'DC1' },
      credentialId: 3,
      disks: [
        {
          ...{ diskId: 'disk-2000', capacityBytes: 109521666048, sizeGb: 102, label: 'Hard disk 1', unitNumber: 0 },
          ...{ vmdkPath: '[ds1] pgtest1/pgtest1.vmdk', datastore: 'ds1', provisioningType: 'thin' },
        },
        {
          ...{ diskId: 'disk-2001', capacityBytes: 5368709120, sizeGb: 5, label: 'Hard disk 2', unitNumber: null },
          ...{ vmdkPath: '[ds1] pgtest1/pgtest1_1.vmdk', datastore: 'ds1', provisioningType: null },
        },
      ],
    });
  });
});
