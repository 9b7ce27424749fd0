import { basename } from 'node:path';
import type { DiscoveredVm, DiscoverRequest } from '#wire/node-api.ts';
import type { LiveVm } from './catalog.ts';
import { diskLabel } from './tracked-vm.ts';
import { firstDiskKey } from './vm-file.ts';

const gib = 1024 ** 3;
const datastore = 'lab';

const reducedOs = (guestOs: string): 'windows' | 'linux' | 'unknown' => {
  if (/win/i.test(guestOs)) return 'windows';
  if (/linux|debian|ubuntu|centos|rhel|redhat|sles|suse|fedora|alma|rocky|oracle|photon|alpine/i.test(guestOs)) {
    return 'linux';
  }
  return 'unknown';
};

/** A VM as vSphere's discovery describes it, with the fields that always arrive empty. */
export const discoveredVm = ({ id, path, folder, spec, disks }: LiveVm): DiscoveredVm => ({
  id,
  name: spec.name,
  path,
  datacenter: spec.datacenter,
  power_state: spec.power_state,
  guest_os: reducedOs(spec.guest_os),
  memory_mb: spec.memory_mb,
  num_cpu: spec.cpu_count,
  cpus: 0,
  os_type: '',
  vmx_version: 'vmx-19',
  display_name: '',
  annotation: '',
  folder_path: '',
  vmware_tools_status: '',
  vmware_tools_version: '',
  disks: disks.map(({ file, capacityBytes }, index) => ({
    id: `disk-${firstDiskKey + index}`,
    label: diskLabel(index),
    path: `[${datastore}] ${basename(folder)}/${file}`,
    vmdk_path: `[${datastore}] ${basename(folder)}/${file}`,
    size_gb: Math.ceil(capacityBytes / gib),
    capacity_bytes: capacityBytes,
    datastore,
    provisioning_type: 'thin',
    unit_number: index,
  })),
  networks: spec.networks.map((network) => ({ ...network, type: '' })),
});

export const matchesFilter = ({ spec }: LiveVm, filter: DiscoverRequest['filter']): boolean => {
  const parts = (filter ?? '').split(',').map((part) => part.trim().toLowerCase());
  const wanted = parts.filter((part) => part !== '');
  return wanted.length === 0 || wanted.some((part) => spec.name.toLowerCase().includes(part));
};
