import { z } from 'zod';
import type { VmOutcome, VmsAdded } from '#commands/add-vms.ts';
import type { Discovered, LoginChoice } from '#commands/discover-vms.ts';
import type { DiscoveredVm } from '#domain/vm-context/discovered-vm.ts';
import { plainText } from './plain-text.ts';

const optionalText = plainText().nullish();
const login = {
  credential_id: z
    .int32()
    .nullish()
    .meta({ description: 'A saved credential; without it vcenter, username, password and datacenter are required' }),
  ...{ vcenter: optionalText, username: optionalText, password: z.string().max(1_024).nullish() },
  datacenter: optionalText,
};

type LoginFields = z.output<z.ZodObject<typeof login>>;

const required = ['vcenter', 'username', 'password', 'datacenter'] as const;

const isSaved = ({ credential_id }: LoginFields): boolean => (credential_id ?? 0) > 0;

/** Names each part of a typed-in login that is missing. */
const loginIsWhole = (body: LoginFields, check: z.core.$RefinementCtx<LoginFields>): void => {
  if (isSaved(body)) return;
  for (const field of required) {
    if (!body[field]) check.addIssue({ code: 'custom', path: [field], message: 'is required', input: body });
  }
};

const names = z.array(plainText(1_024));

export const DiscoverBody = z
  .object({
    ...login,
    filter: plainText(4_096).nullish(),
    selected_vms: names.nullish().meta({ description: 'Names or ids of those to add; empty: all' }),
    create_context: z.boolean().nullish(),
  })
  .superRefine(loginIsWhole);

export const AddBody = z
  .object({ ...login, vm_names: names.min(1, 'must name at least one'), added_by: plainText().nullish() })
  .superRefine(loginIsWhole);

export const BulkAddBody = z.object({
  ...{ vcenter: plainText().min(1), username: plainText().min(1), password: z.string().min(1).max(1_024) },
  ...{ datacenter: plainText().min(1), selected_vms: names.min(1, 'must name at least one') },
  filter: plainText(4_096).nullish(),
});

export const PreviewBody = z.object({ ...login, filter: plainText(4_096).nullish() }).superRefine(loginIsWhole);

export const loginChoiceOf = (body: LoginFields): LoginChoice =>
  isSaved(body)
    ? { credentialId: body.credential_id ?? 0 }
    : {
        ...{ vcenterHost: body.vcenter ?? '', username: body.username ?? '' },
        ...{ password: body.password ?? '', datacenter: body.datacenter ?? '' },
      };

export const DiscoveredVmReply = z
  .object({
    ...{ id: z.string(), name: z.string(), path: z.string(), power_state: z.string(), guest_os: z.string() },
    ...{ memory_mb: z.int(), num_cpu: z.int(), vmx_version: z.string().optional() },
    disks: z.array(
      z.object({
        ...{ id: z.string(), label: z.string(), path: z.string(), size_gb: z.int(), capacity_bytes: z.int() },
        datastore: z.string(),
      }),
    ),
    networks: z.array(z.object({ label: z.string(), network_name: z.string(), mac_address: z.string() })),
    existing: z.boolean(),
    context_id: z.string().optional(),
  })
  .meta({ id: 'DiscoveredVm' });

/** A VM that was added a moment ago exists as well. */
export const discoveredToWire = (
  { discovery, managed }: Discovered,
  added: VmsAdded | undefined,
): readonly z.input<typeof DiscoveredVmReply>[] => {
  const byPath = new Map(
    (added?.outcomes ?? []).flatMap((one) => (one.outcome === 'failed' ? [] : [[one.vmPath, one.contextId] as const])),
  );
  return discovery.vms.map((vm) => vmToWire(vm, managed.get(vm) ?? byPath.get(vm.path)));
};

const vmToWire = (vm: DiscoveredVm, contextId: string | undefined): z.input<typeof DiscoveredVmReply> => ({
  ...{ id: vm.id, name: vm.name, path: vm.path, power_state: vm.powerState, guest_os: vm.guestOs },
  ...{ memory_mb: vm.memoryMb, num_cpu: vm.cpuCount },
  ...(vm.vmxVersion === '' ? {} : { vmx_version: vm.vmxVersion }),
  disks: vm.disks.map((disk) => ({
    ...{ id: disk.id, label: disk.label, path: disk.path, size_gb: disk.sizeGb },
    ...{ capacity_bytes: disk.capacityBytes, datastore: disk.datastore },
  })),
  networks: vm.networks.map((network) => ({
    ...{ label: network.label, network_name: network.networkName, mac_address: network.macAddress },
  })),
  existing: contextId !== undefined,
  ...(contextId === undefined ? {} : { context_id: contextId }),
});

const nanoseconds = z.int().meta({ description: 'Nanoseconds' });

export const BulkAddResult = z
  .object({
    ...{ total_requested: z.int(), successfully_added: z.int(), skipped: z.int(), failed: z.int() },
    added_vms: z.array(
      z.object({
        ...{ context_id: z.string(), vm_name: z.string(), vm_path: z.string(), status: z.literal('discovered') },
        ...{ auto_added: z.literal(true), cpu_count: z.int(), memory_mb: z.int() },
        ...{ os_type: z.string(), power_state: z.string() },
      }),
    ),
    skipped_vms: z.array(
      z.object({
        ...{ vm_name: z.string(), vm_path: z.string(), reason: z.string() },
        existing_context_id: z.string().optional(),
      }),
    ),
    failed_vms: z.array(z.object({ vm_name: z.string(), vm_path: z.string(), error: z.string() })),
    ...{ discovery_duration: nanoseconds, processing_duration: nanoseconds },
  })
  .meta({ id: 'BulkAddResult' });

export const inNanoseconds = (ms: number): number => Math.round(ms * 1_000_000);

export const outcomesOf = <Kind extends VmOutcome['outcome']>({ outcomes }: VmsAdded, kind: Kind) =>
  outcomes.filter((one): one is Extract<VmOutcome, { outcome: Kind }> => one.outcome === kind);

export const bulkToWire = (found: Discovered, added: VmsAdded): z.input<typeof BulkAddResult> => {
  const taken = outcomesOf(added, 'added');
  const skipped = outcomesOf(added, 'skipped');
  const failed = outcomesOf(added, 'failed');
  return {
    ...{ total_requested: added.outcomes.length, successfully_added: taken.length },
    ...{ skipped: skipped.length, failed: failed.length },
    added_vms: taken.map(({ contextId, facts }) => ({
      ...{
        context_id: contextId,
        vm_name: facts.vmName,
        vm_path: facts.vmPath,
        status: 'discovered',
        auto_added: true,
      },
      ...{ cpu_count: facts.cpuCount, memory_mb: facts.memoryMb, os_type: facts.osType },
      power_state: facts.powerState,
    })),
    skipped_vms: skipped.map((one) => ({
      ...{ vm_name: one.wanted, vm_path: one.vmPath, reason: one.reason, existing_context_id: one.contextId },
    })),
    failed_vms: failed.map((one) => ({ vm_name: one.wanted, vm_path: one.vmPath, error: one.reason })),
    ...{ discovery_duration: inNanoseconds(found.tookMs), processing_duration: inNanoseconds(added.tookMs) },
  };
};

export const ProcessedVm = z.object({
  ...{ vm_name: z.string(), success: z.boolean(), context_id: z.string().optional() },
  ...{ skipped: z.literal(true).optional(), error: z.string().optional() },
});

export const processedToWire = (one: VmOutcome): z.input<typeof ProcessedVm> => {
  if (one.outcome === 'failed') return { vm_name: one.wanted, success: false, error: one.reason };
  const managed = { vm_name: one.wanted, success: true, context_id: one.contextId };
  return one.outcome === 'added' ? managed : { ...managed, skipped: true };
};
