import type { Decider } from '../decider.ts';
import { DomainError } from '../errors.ts';
import type { Versions } from '../event-versions.ts';

export type VmDisk = Readonly<{
  /** `disk-<VMware's key>`: `disk-2000`, `disk-2001`, … */
  diskId: string;
  capacityBytes: number;
  /** Rounded up by the source. */
  sizeGb: number;
  /** Where the source keeps it, e.g. `[ds1] pgtest1/pgtest1.vmdk`. */
  vmdkPath: string;
  datastore: string;
  label: string;
  unitNumber: number | null;
  provisioningType: string | null;
}>;

/** A virtual machine as the source described it when it was added. */
export type VmFacts = Readonly<{
  vmName: string;
  /** What the source calls it for ever; names change. */
  vmwareVmId: string;
  /** Inventory path, `/DC1/vm/pgtest1`. */
  vmPath: string;
  vcenterHost: string;
  datacenter: string;
  osType: OsType;
  cpuCount: number;
  memoryMb: number;
  powerState: PowerState;
  vmToolsVersion: string | null;
  disks: readonly VmDisk[];
}>;

export type OsType = 'windows' | 'linux' | 'macos' | 'other' | 'unknown';
export type PowerState = 'poweredOn' | 'poweredOff' | 'suspended' | 'unknown';

export type VmContextEvent =
  | Readonly<{
      type: 'VmAdded';
      data: VmFacts & Readonly<{ contextId: string; credentialId: number | null; addedBy: string; at: string }>;
    }>
  | Readonly<{
      type: 'VmCredentialLinked';
      data: Readonly<{ contextId: string; credentialId: number; at: string }>;
    }>;

export type ManagedVm = Readonly<{
  status: 'managed';
  contextId: string;
  vmName: string;
  vmwareVmId: string;
  vmPath: string;
  vcenterHost: string;
  datacenter: string;
  credentialId: number | null;
  disks: readonly VmDisk[];
}>;

export type VmContextState = Readonly<{ status: 'none' }> | ManagedVm;

export type VmContextCommand =
  | Readonly<{ type: 'AddVm'; data: Extract<VmContextEvent, { type: 'VmAdded' }>['data'] }>
  | Readonly<{
      type: 'LinkCredential';
      data: Readonly<{
        contextId: string;
        credentialId: number;
        /** Of the credential: it opens no other vCenter. */
        vcenterHost: string;
        /** The linked credential, when the caller found that it no longer exists. */
        goneCredentialId?: number;
        at: string;
      }>;
    }>;

type AddVm = Extract<VmContextCommand, { type: 'AddVm' }>['data'];
type LinkCredential = Extract<VmContextCommand, { type: 'LinkCredential' }>['data'];

const add = (data: AddVm, state: VmContextState): readonly VmContextEvent[] => {
  if (state.status === 'none') return [{ type: 'VmAdded', data }];
  if (state.vmwareVmId === data.vmwareVmId && state.vcenterHost === data.vcenterHost) return [];
  throw new DomainError('name-taken', `${data.contextId} is another virtual machine's`, { contextId: data.contextId });
};

/** Only a VM that no credential opens gets one: what an administrator linked stays. */
const link = (data: LinkCredential, state: VmContextState): readonly VmContextEvent[] => {
  if (state.status === 'none' || state.vcenterHost !== data.vcenterHost) return [];
  if (state.credentialId !== null && state.credentialId !== data.goneCredentialId) return [];
  if (state.credentialId === data.credentialId) return [];
  const { contextId, credentialId, at } = data;
  return [{ type: 'VmCredentialLinked', data: { contextId, credentialId, at } }];
};

const decide = (command: VmContextCommand, state: VmContextState): readonly VmContextEvent[] => {
  switch (command.type) {
    case 'AddVm':
      return add(command.data, state);
    case 'LinkCredential':
      return link(command.data, state);
  }
};

const evolve = (state: VmContextState, event: VmContextEvent): VmContextState => {
  switch (event.type) {
    case 'VmAdded': {
      const { contextId, vmName, vmwareVmId, vmPath, vcenterHost, datacenter, credentialId, disks } = event.data;
      const identity = { contextId, vmName, vmwareVmId, vmPath, vcenterHost, datacenter };
      return { status: 'managed', ...identity, credentialId, disks };
    }
    case 'VmCredentialLinked':
      return state.status === 'none' ? state : { ...state, credentialId: event.data.credentialId };
  }
};

/** One virtual machine under management, from the day it was added; nothing of its backups. */
export const vmContextDecider: Decider<VmContextState, VmContextCommand, VmContextEvent> = {
  initialState: { status: 'none' },
  decide,
  evolve,
};

export const vmContextEventVersions: Versions<VmContextEvent> = { VmAdded: 1, VmCredentialLinked: 1 };
