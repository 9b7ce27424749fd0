import type { NodeReply, NodeRequest } from '../../support/fake-node.ts';

export type FakeVm = Readonly<Record<string, unknown>> & Readonly<{ name: string }>;

export type FakeVcenter = {
  password: string;
  vms: readonly FakeVm[];
  readonly answer: (request: NodeRequest) => NodeReply;
};

export const vmNamed = (name: string, more: Readonly<Record<string, unknown>> = {}): FakeVm => ({
  ...{ id: `id-of-${name}`, name, path: `/DC1/vm/${name}`, datacenter: 'DC1', power_state: 'poweredOn' },
  ...{ guest_os: 'windows', memory_mb: 8192, num_cpu: 2, cpus: 0, os_type: '', vmx_version: 'vmx-19' },
  ...{ display_name: '', annotation: '', folder_path: '', vmware_tools_status: '', vmware_tools_version: '' },
  disks: [0, 1].map((index) => ({
    ...{ id: `disk-${2000 + index}`, label: `Hard disk ${index + 1}`, path: `[ds1] ${name}/${name}_${index}.vmdk` },
    ...{ vmdk_path: `[ds1] ${name}/${name}_${index}.vmdk`, size_gb: 102, capacity_bytes: 109521666048 },
    ...{ datastore: 'ds1', provisioning_type: 'thin', unit_number: index },
  })),
  networks: [
    {
      ...{ label: 'Network adapter 1', network_name: 'VLAN 253', adapter_type: 'vmxnet3' },
      ...{ mac_address: '00:50:56:85:3c:59', connected: true, type: '' },
    },
  ],
  ...more,
});

type Asked = Readonly<{ vcenter: string; password: string; datacenter: string; filter?: string }>;

/** A node appliance in front of a vCenter with the datacenter DC1: it checks the login and filters as the real one. */
export const createFakeVcenter = (): FakeVcenter => {
  const vcenter: FakeVcenter = {
    password: '',
    vms: [],
    answer: ({ path, body }) => {
      const asked = body as Asked;
      if (path !== '/api/v1/discover') return { status: 404, text: '404 page not found' };
      if (asked.password !== vcenter.password) {
        return { status: 500, text: `failed to connect to vCenter: cannot log in with ${asked.password}` };
      }
      if (asked.datacenter !== 'DC1') return { status: 500, text: `failed to find datacenter: ${asked.datacenter}` };
      const parts = (asked.filter ?? '').toLowerCase().split(',').filter(Boolean);
      const vms = vcenter.vms.filter(
        ({ name }) => parts.length === 0 || parts.some((part) => name.toLowerCase().includes(part)),
      );
      return { json: { vcenter: { host: asked.vcenter, datacenter: asked.datacenter }, vms } };
    },
  };
  return vcenter;
};
