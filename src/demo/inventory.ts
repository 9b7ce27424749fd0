import { z } from 'zod';
import type { Api } from './api.ts';

export type Inventory = Readonly<{ repositoryId: string }>;

export type InventorySpec = Readonly<{
  vmName: string;
  datacenter: string;
  repositoryFolder: string;
  login: Readonly<{ username: string; password: string }>;
}>;

const Added = z.object({ repository: z.object({ id: z.string() }) });
const Saved = z.object({ credential: z.object({ id: z.number() }) });
const Discovered = z.object({ discovered_vms: z.array(z.object({ name: z.string() })) });
const VmsAdded = z.object({
  processed_vms: z.array(z.object({ vm_name: z.string(), success: z.boolean(), error: z.string().optional() })),
});

/** What an administrator sets up before the first backup: a repository, a credential, the VM. */
export const setUpInventory = async (api: Api, spec: InventorySpec): Promise<Inventory> => {
  const { vmName, datacenter, login, repositoryFolder } = spec;
  const config = { path: repositoryFolder, description: 'Made by the demo' };
  const { repository } = await api.post('/repositories', { name: 'Demo', type: 'local', config }, Added);
  const credential = { credential_name: 'Demo lab', vcenter_host: 'lab.local', datacenter, ...login };
  const saved = await api.post('/vmware-credentials', credential, Saved);
  const { id } = saved.credential;
  const { discovered_vms } = await api.post('/discovery/discover-vms', { credential_id: id }, Discovered);
  if (!discovered_vms.some(({ name }) => name === vmName)) throw new Error(`the node does not show the VM ${vmName}`);
  const added = await api.post('/discovery/add-vms', { credential_id: id, vm_names: [vmName] }, VmsAdded);
  const failed = added.processed_vms.find(({ success }) => !success);
  if (failed) throw new Error(`${failed.vm_name} could not be added: ${failed.error ?? 'no reason given'}`);
  return { repositoryId: repository.id };
};
