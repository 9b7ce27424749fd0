import { z } from 'zod';
import type { createAddVms, VmsAdded } from '#commands/add-vms.ts';
import type { createDiscoverVms, Discovered } from '#commands/discover-vms.ts';
import type { ErrorCode } from '#domain/errors.ts';
import { problemOf } from '../errors.ts';
import type { Log } from '../log.ts';
import { answer, type Endpoint, resource } from '../route.ts';
import {
  AddBody,
  BulkAddBody,
  BulkAddResult,
  bulkToWire,
  DiscoverBody,
  DiscoveredVmReply,
  discoveredToWire,
  inNanoseconds,
  loginChoiceOf,
  outcomesOf,
  PreviewBody,
  ProcessedVm,
  processedToWire,
} from './discovery-wire.ts';

export type DiscoveryRoutesDeps = Readonly<{
  discoverVms: ReturnType<typeof createDiscoverVms>;
  addVms: ReturnType<typeof createAddVms>;
  clock: Readonly<{ now: () => string }>;
  log: Log;
  /** Waits until the read model has passed the position; headers for the reply. */
  settled: (position: bigint | undefined) => Promise<Readonly<Record<string, string>>>;
}>;

const errors: readonly ErrorCode[] = [
  ...(['credential-unusable', 'source-refused', 'secret-key-missing'] as const),
  ...(['node-unreachable', 'node-timeout', 'node-error'] as const),
];

const vms = (count: number): string => (count === 1 ? '1 virtual machine' : `${count} virtual machines`);

/** What a VM's name may not hold to be a part of a filter. */
const filterFor = (names: readonly string[]): string | undefined =>
  names.some((name) => name.includes(',')) ? undefined : names.join(',');

type Addition = Readonly<{ added: VmsAdded }> | Readonly<{ failure: string }>;

export const discoveryEndpoints = (deps: DiscoveryRoutesDeps): readonly Endpoint[] => {
  const { discoverVms, addVms, clock, log, settled } = deps;
  const { endpoint } = resource({ tag: 'Discovery', group: 'group02' });

  /** What was found is worth telling also when none of it could be added. */
  const tryToAdd = async (...args: Parameters<typeof addVms>): Promise<Addition> => {
    try {
      return { added: await addVms(...args) };
    } catch (error) {
      log.error({ err: error }, 'adding discovered VMs failed');
      return { failure: problemOf(error).message };
    }
  };

  const messageOf = ({ discovery }: Discovered, addition: Addition | undefined): string => {
    const found = `${vms(discovery.vms.length)} found`;
    if (!addition) return found;
    if ('failure' in addition) return `${found}; adding failed: ${addition.failure}`;
    return `${found}, ${outcomesOf(addition.added, 'added').length} added`;
  };

  return [
    endpoint('POST /discovery/discover-vms', {
      summary: 'Tells what a vCenter holds, and adds what is chosen',
      body: DiscoverBody,
      audit: {
        action: 'DiscoverVms',
        object: 'vcenter',
        id: ['body.vcenter'],
        facts: ['credential_id', 'create_context'],
      },
      dryRun: true,
      reply: z.object({
        discovered_vms: z.array(DiscoveredVmReply),
        ...{ discovery_count: z.int(), processing_time: z.int(), message: z.string() },
        status: z.enum(['success', 'partial_success']),
        addition_result: BulkAddResult.optional(),
      }),
      errors,
      handle: async ({ body, context, signal, actor }) => {
        const command = context();
        const request = { choice: loginChoiceOf(body), filter: body.filter ?? undefined };
        const found = await discoverVms(request, command, signal);
        const { discovery, credentialId } = found;
        const wanted = body.selected_vms?.length ? body.selected_vms : undefined;
        const addition = body.create_context
          ? await tryToAdd({ discovery, wanted, credentialId, addedBy: actor }, command)
          : undefined;
        const added = addition && 'added' in addition ? addition.added : undefined;
        const reply = {
          discovered_vms: discoveredToWire(found, added),
          discovery_count: discovery.vms.length,
          processing_time: inNanoseconds(found.tookMs + (added?.tookMs ?? 0)),
          status: addition && 'failure' in addition ? ('partial_success' as const) : ('success' as const),
          message: messageOf(found, addition),
          ...(added ? { addition_result: bulkToWire(found, added) } : {}),
        };
        return answer(200, reply, await settled(added?.position));
      },
    }),
    endpoint('POST /discovery/add-vms', {
      summary: 'Takes virtual machines under management, by their exact names',
      body: AddBody,
      audit: { action: 'AddVms', object: 'vcenter', id: ['body.vcenter'], facts: ['credential_id'] },
      dryRun: true,
      reply: z.object({
        ...{ success: z.boolean(), message: z.string(), vms_added: z.int(), vms_failed: z.int(), total_vms: z.int() },
        ...{ added_at: z.string(), processed_vms: z.array(ProcessedVm) },
      }),
      errors,
      handle: async ({ body, context, signal, actor }) => {
        const command = context();
        const request = { choice: loginChoiceOf(body), filter: filterFor(body.vm_names) };
        const { discovery, credentialId } = await discoverVms(request, command, signal);
        const addedBy = body.added_by || actor;
        const added = await addVms({ discovery, wanted: body.vm_names, credentialId, addedBy }, command);
        const counts = { added: outcomesOf(added, 'added').length, failed: outcomesOf(added, 'failed').length };
        const reply = {
          success: counts.failed < added.outcomes.length,
          message: `${vms(counts.added)} added, ${counts.failed} failed`,
          ...{ vms_added: counts.added, vms_failed: counts.failed, total_vms: added.outcomes.length },
          ...{ added_at: clock.now(), processed_vms: added.outcomes.map(processedToWire) },
        };
        return answer(200, reply, await settled(added.position));
      },
    }),
    endpoint('POST /discovery/bulk-add', {
      summary: 'Takes virtual machines under management with a login typed in',
      body: BulkAddBody,
      audit: { action: 'AddVms', object: 'vcenter', id: ['body.vcenter'] },
      dryRun: true,
      reply: BulkAddResult,
      errors,
      handle: async ({ body, context, signal, actor }) => {
        const command = context();
        const request = { choice: loginChoiceOf(body), filter: body.filter ?? undefined };
        const found = await discoverVms(request, command, signal);
        const { discovery } = found;
        const selection = { discovery, wanted: body.selected_vms, credentialId: null, addedBy: actor };
        const added = await addVms(selection, command);
        return answer(200, bulkToWire(found, added), await settled(added.position));
      },
    }),
    endpoint('POST /discovery/preview', {
      summary: 'Tells what a vCenter holds and what of it is new',
      body: PreviewBody,
      audit: { action: 'PreviewVms', object: 'vcenter', id: ['body.vcenter'], facts: ['credential_id'] },
      reply: z.object({
        vms: z.array(DiscoveredVmReply),
        ...{ total_discovered: z.int(), new_vms: z.int(), existing_vms: z.int(), processing_time: z.int() },
        ...{ vcenter: z.string(), datacenter: z.string(), filter: z.string().optional() },
      }),
      errors,
      handle: async ({ body, context, signal }) => {
        const filter = body.filter ?? undefined;
        const found = await discoverVms({ choice: loginChoiceOf(body), filter }, context(), signal);
        const { discovery, managed, tookMs } = found;
        return {
          ...{ vms: discoveredToWire(found, undefined), total_discovered: discovery.vms.length },
          ...{ new_vms: discovery.vms.length - managed.size, existing_vms: managed.size },
          processing_time: inNanoseconds(tookMs),
          ...{ vcenter: discovery.vcenterHost, datacenter: discovery.datacenter },
          ...(filter === undefined ? {} : { filter }),
        };
      },
    }),
  ];
};
