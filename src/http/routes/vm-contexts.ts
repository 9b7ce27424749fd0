import { z } from 'zod';
import { DomainError } from '#domain/errors.ts';
import type { VmContextQueries, VmContextRow } from '#projections/vm-contexts.ts';
import { type Endpoint, resource } from '../route.ts';
import { plainText } from './plain-text.ts';
import {
  contextToWire,
  Details,
  diskToWire,
  ListedContext,
  listedToWire,
  RecentJob,
  recentBackupToWire,
  Ungrouped,
  ungroupedToWire,
} from './vm-context-wire.ts';

export type VmContextRoutesDeps = Readonly<{
  vmContexts: Pick<VmContextQueries, 'list' | 'find' | 'findByName' | 'disks' | 'recentBackups'>;
  clock: Readonly<{ now: () => string }>;
}>;

const noSuchVm = (facts: Readonly<{ contextId: string } | { vmName: string }>): DomainError =>
  new DomainError('vm-not-found', 'no such virtual machine is managed here; add it by discovery first', facts);

// No limit: ids grow with the names of virtual machines.
const name = plainText(1_024);
const ById = z.object({ context_id: name });

export const vmContextEndpoints = ({ vmContexts, clock }: VmContextRoutesDeps): readonly Endpoint[] => {
  const { endpoint } = resource({ tag: 'Virtual machines', group: 'group02' });

  const managed = async (contextId: string): Promise<VmContextRow> => {
    const vm = await vmContexts.find(contextId);
    if (!vm) throw noSuchVm({ contextId });
    return vm;
  };

  const detailsOf = async (vm: VmContextRow) => {
    const disks = await vmContexts.disks(vm.context_id);
    return {
      ...{ context: contextToWire(vm), disks: disks.map((disk) => diskToWire(disk, vm)) },
      ...{ job_history: [], cbt_history: [] },
    };
  };

  /** All are: there are no groups yet. */
  const ungrouped = async () => {
    const vms = (await vmContexts.list()).map(ungroupedToWire);
    return { vms, count: vms.length, retrieved_at: clock.now() };
  };
  const UngroupedReply = z.object({ vms: z.array(Ungrouped), count: z.int(), retrieved_at: z.string() });

  return [
    endpoint('GET /vm-contexts', {
      summary: 'Lists managed virtual machines by name',
      reply: z.object({ vm_contexts: z.array(ListedContext), count: z.int() }),
      handle: async () => {
        const rows = await vmContexts.list();
        return { vm_contexts: rows.map(listedToWire), count: rows.length };
      },
    }),
    endpoint('GET /vm-contexts/ungrouped', {
      summary: 'Lists virtual machines that are in no group',
      reply: UngroupedReply.extend({ vm_contexts: z.array(Ungrouped) }),
      handle: async () => {
        const listed = await ungrouped();
        return { ...listed, vm_contexts: listed.vms };
      },
    }),
    endpoint('GET /discovery/ungrouped-vms', {
      summary: 'Lists virtual machines that are in no group',
      reply: UngroupedReply,
      handle: ungrouped,
    }),
    endpoint('GET /vm-contexts/by-id/:context_id', {
      summary: 'One managed virtual machine with its disks',
      params: ById,
      reply: Details,
      errors: ['vm-not-found'],
      handle: async ({ params }) => detailsOf(await managed(params.context_id)),
    }),
    endpoint('GET /vm-contexts/:vm_name', {
      summary: 'One managed virtual machine with its disks, by its name; the oldest when several have it',
      params: z.object({ vm_name: name }),
      reply: Details,
      errors: ['vm-not-found'],
      handle: async ({ params }) => {
        const [vm] = await vmContexts.findByName(params.vm_name);
        if (!vm) throw noSuchVm({ vmName: params.vm_name });
        return detailsOf(vm);
      },
    }),
    endpoint('GET /vm-contexts/:context_id/disks', {
      summary: 'The disks of a virtual machine',
      params: ById,
      reply: z.object({ disks: z.array(z.object({ disk_id: z.string(), size_gb: z.int() })), count: z.int() }),
      errors: ['vm-not-found'],
      handle: async ({ params }) => {
        const { context_id } = await managed(params.context_id);
        const disks = (await vmContexts.disks(context_id)).map(({ disk_id, size_gb }) => ({ disk_id, size_gb }));
        return { disks, count: disks.length };
      },
    }),
    endpoint('GET /vm-contexts/:context_id/recent-jobs', {
      summary: 'The newest jobs of a virtual machine, at most 20',
      params: ById,
      reply: z.object({ context_id: z.string(), jobs: z.array(RecentJob), count: z.int() }),
      errors: ['vm-not-found'],
      handle: async ({ params }) => {
        const { context_id } = await managed(params.context_id);
        const jobs = (await vmContexts.recentBackups(context_id)).map(recentBackupToWire);
        return { context_id, jobs, count: jobs.length };
      },
    }),
  ];
};
