import { compactTime, diskKeyOf } from '../backup/ids.ts';
import type { OsType, PowerState, VmDisk, VmFacts } from './vm-context.ts';

export type DiscoveredDisk = Readonly<{
  id: string;
  label: string;
  path: string;
  sizeGb: number;
  capacityBytes: number;
  datastore: string;
  unitNumber: number | null;
  provisioningType: string | null;
}>;

export type DiscoveredNetwork = Readonly<{ label: string; networkName: string; macAddress: string }>;

/** A virtual machine as a discovery found it; texts may be empty, nothing is checked yet. */
export type DiscoveredVm = Readonly<{
  id: string;
  name: string;
  path: string;
  powerState: string;
  guestOs: string;
  memoryMb: number;
  cpuCount: number;
  vmxVersion: string;
  toolsVersion: string;
  disks: readonly DiscoveredDisk[];
  networks: readonly DiscoveredNetwork[];
}>;

export type Discovery = Readonly<{
  vcenterHost: string;
  datacenter: string;
  vms: readonly DiscoveredVm[];
}>;

const osWords: readonly (readonly [OsType, RegExp])[] = [
  ['windows', /windows/],
  ['linux', /linux|ubuntu|rhel|centos/],
  ['macos', /darwin|mac/],
];

/** The family of a guest system, from the source's name for it. */
export const osTypeOf = (guestOs: string): OsType => {
  const name = guestOs.trim().toLowerCase();
  if (name === '' || name === 'unknown') return 'unknown';
  return osWords.find(([, words]) => words.test(name))?.[0] ?? 'other';
};

export const powerStateOf = (powerState: string): PowerState =>
  powerState === 'poweredOn' || powerState === 'poweredOff' || powerState === 'suspended' ? powerState : 'unknown';

const diskOf = ({ id, path, ...facts }: DiscoveredDisk): VmDisk => ({ diskId: id, vmdkPath: path, ...facts });

/** In the order of VMware's keys, whatever the source's. */
const byKey = (a: VmDisk, b: VmDisk): number =>
  (diskKeyOf(a.diskId) ?? Number.MAX_SAFE_INTEGER) - (diskKeyOf(b.diskId) ?? Number.MAX_SAFE_INTEGER);

/** What a discovered VM lacks to be managed; empty when nothing. */
export const missingOf = ({ vcenterHost, datacenter }: Discovery, vm: DiscoveredVm): readonly string[] => {
  const facts = { name: vm.name, id: vm.id, path: vm.path, 'vCenter host': vcenterHost, datacenter };
  const missing = Object.entries(facts).flatMap(([name, value]) => (value.trim() === '' ? [name] : []));
  const diskIds = new Set(vm.disks.map(({ id }) => id.trim()));
  const distinct = diskIds.size === vm.disks.length && !diskIds.has('');
  return distinct ? missing : [...missing, 'own id for each disk'];
};

/** What is kept of a discovered VM. */
export const factsOf = ({ vcenterHost, datacenter }: Discovery, vm: DiscoveredVm): VmFacts => ({
  ...{ vmName: vm.name, vmwareVmId: vm.id, vmPath: vm.path, vcenterHost, datacenter },
  osType: osTypeOf(vm.guestOs),
  cpuCount: vm.cpuCount,
  memoryMb: vm.memoryMb,
  powerState: powerStateOf(vm.powerState),
  vmToolsVersion: vm.toolsVersion === '' ? null : vm.toolsVersion,
  disks: vm.disks.map(diskOf).toSorted(byKey),
});

/** `ctx-<vm name>-<YYYYMMDD-HHMMSS>`, and `-<n>` from the second on when the id is taken. */
export const vmContextIdFor = (vmName: string, at: string, attempt: number): string => {
  const id = `ctx-${vmName}-${compactTime(at)}`;
  return attempt === 1 ? id : `${id}-${attempt}`;
};
