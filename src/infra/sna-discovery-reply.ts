import { z } from 'zod';
import type { Discovery } from '#domain/vm-context/discovered-vm.ts';

/*
 * Read more leniently than the node's API says: an appliance in the field leaves out what it does not know or sends null
 * for an empty list, and a VM that lacks something must not hide the others.
 */
const maxInt32 = 2 ** 31 - 1;
// No NUL and no half characters: neither can be kept in a table or in a stream's name.
const text = z
  .string()
  .nullish()
  .transform((value) => (value ?? '').replaceAll('\0', '').toWellFormed());
const count = (max: number) =>
  z
    .number()
    .nonnegative()
    .nullish()
    .transform((value) => Math.min(Math.ceil(value ?? 0), max));
const list = <T extends z.ZodType>(item: T) =>
  z
    .array(item)
    .nullish()
    .transform((value) => value ?? []);

const Disk = z
  .object({
    ...{ id: text, label: text, path: text, vmdk_path: text, datastore: text },
    ...{ size_gb: count(maxInt32), capacity_bytes: count(Number.MAX_SAFE_INTEGER) },
    provisioning_type: text,
    unit_number: z.int32().nullish(),
  })
  .transform((disk) => ({
    ...{ id: disk.id, label: disk.label, path: disk.path || disk.vmdk_path, datastore: disk.datastore },
    ...{ sizeGb: disk.size_gb, capacityBytes: disk.capacity_bytes },
    provisioningType: disk.provisioning_type || null,
    unitNumber: disk.unit_number ?? null,
  }));

const Network = z.object({ label: text, network_name: text, mac_address: text }).transform((network) => ({
  ...{ label: network.label, networkName: network.network_name, macAddress: network.mac_address },
}));

const Vm = z
  .object({
    ...{ id: text, name: text, path: text, power_state: text, guest_os: text, vmx_version: text },
    ...{ vmware_tools_version: text, memory_mb: count(maxInt32), num_cpu: count(maxInt32) },
    disks: list(Disk),
    networks: list(Network),
  })
  .transform((vm) => ({
    ...{ id: vm.id, name: vm.name, path: vm.path, powerState: vm.power_state, guestOs: vm.guest_os },
    ...{ memoryMb: vm.memory_mb, cpuCount: vm.num_cpu, vmxVersion: vm.vmx_version },
    ...{ toolsVersion: vm.vmware_tools_version, disks: vm.disks, networks: vm.networks },
  }));

/** A discovery in the domain's words. */
export const DiscoveryReply = z
  .object({ vcenter: z.object({ host: text, datacenter: text }), vms: list(Vm) })
  .transform(({ vcenter, vms }): Discovery => ({ vcenterHost: vcenter.host, datacenter: vcenter.datacenter, vms }));
