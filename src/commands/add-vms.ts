import { claimDecider } from '#domain/claim/claim.ts';
import { DomainError } from '#domain/errors.ts';
import { type ClaimKind, streamOf } from '#domain/streams.ts';
import {
  type DiscoveredVm,
  type Discovery,
  factsOf,
  missingOf,
  vmContextIdFor,
} from '#domain/vm-context/discovered-vm.ts';
import { type VmFacts, vmContextDecider } from '#domain/vm-context/vm-context.ts';
import { vmwareCredentialDecider } from '#domain/vmware-credential/vmware-credential.ts';
import { claimName, isFresh, releaseName } from './claim-name.ts';
import { handle, load } from './handle.ts';
import type { Clock, CommandContext, EventStore } from './ports.ts';

export type VmSelection = Readonly<{
  discovery: Discovery;
  /** Names, or the source's ids; undefined for all that were discovered. */
  wanted: readonly string[] | undefined;
  credentialId: number | null;
  addedBy: string;
}>;

export type VmOutcome =
  | Readonly<{ outcome: 'added'; wanted: string; vmPath: string; contextId: string; facts: VmFacts }>
  | Readonly<{ outcome: 'skipped'; wanted: string; vmPath: string; contextId: string; reason: string }>
  | Readonly<{ outcome: 'failed'; wanted: string; vmPath: string; reason: string }>;

export type VmsAdded = Readonly<{ outcomes: readonly VmOutcome[]; tookMs: number; position: bigint | undefined }>;

type Deps = Readonly<{ store: EventStore; clock: Clock }>;
type One = Readonly<{ wanted: string; vm: DiscoveredVm }>;
type Done = Readonly<{ outcome: VmOutcome; position: bigint | undefined }>;
type Key = Readonly<{ kind: ClaimKind; name: string }>;

/** VMs that are added at the same time: they share the log's flushes. */
const atOnce = 8;

const isTaken = (error: unknown): boolean => error instanceof DomainError && error.code === 'name-taken';

const stateOf = async ({ store }: Deps, contextId: string) =>
  (await load(store, vmContextDecider, streamOf.vmContext(contextId))).state;

const freeContextId = async (deps: Deps, vmName: string, at: string): Promise<string> => {
  for (let attempt = 1; ; attempt += 1) {
    const contextId = vmContextIdFor(vmName, at, attempt);
    if ((await stateOf(deps, contextId)).status === 'none') return contextId;
  }
};

/** The id of the context that has this name or identity already; undefined once it is ours. */
const claim = async (
  deps: Deps,
  { kind, name }: Key,
  contextId: string,
  context: CommandContext,
): Promise<string | undefined> => {
  const holderLives = async (holder: string, since: string): Promise<boolean> =>
    isFresh(since, deps.clock.now()) || (await stateOf(deps, holder)).status !== 'none';
  try {
    await claimName(deps, { kind, name, holder: contextId, holderLives }, context);
    return undefined;
  } catch (error) {
    if (!isTaken(error)) throw error;
    const { state } = await load(deps.store, claimDecider, streamOf.claim(kind, name));
    return state.holder ?? undefined;
  }
};

type Holder = Readonly<{ contextId: string; reason: string }>;

const sameName = (contextId: string): Holder => ({
  contextId,
  reason: 'a virtual machine of this name is managed already',
});

const nameOf = ({ vmName }: VmFacts): Key => ({ kind: 'vmName', name: vmName });
const identityOf = ({ vcenterHost, vmwareVmId }: VmFacts): Key => ({
  kind: 'vmIdentity',
  name: `${vcenterHost}/${vmwareVmId}`,
});

/** A VM is taken when its name is, in whatever vCenter, or its identity, under whatever name. */
const claimVm = async (
  deps: Deps,
  facts: VmFacts,
  contextId: string,
  context: CommandContext,
): Promise<Holder | undefined> => {
  const byName = await claim(deps, nameOf(facts), contextId, context);
  if (byName !== undefined) return sameName(byName);
  const byIdentity = await claim(deps, identityOf(facts), contextId, context);
  if (byIdentity === undefined) return undefined;
  await releaseName(deps, { ...nameOf(facts), holder: contextId }, context);
  return { contextId: byIdentity, reason: 'this virtual machine is managed already, under another name' };
};

/** A managed VM that no credential opens gets the one that it was found with now. */
const linkCredential = async (deps: Deps, contextId: string, selection: VmSelection, context: CommandContext) => {
  const { credentialId, discovery } = selection;
  if (credentialId === null) return undefined;
  const vm = await stateOf(deps, contextId);
  if (vm.status === 'none' || vm.credentialId === credentialId) return undefined;
  const gone = vm.credentialId !== null && (await isGone(deps, vm.credentialId));
  const linked = await handle(
    deps.store,
    { decider: vmContextDecider, stream: streamOf.vmContext(contextId) },
    {
      type: 'LinkCredential',
      data: {
        ...{ contextId, credentialId, vcenterHost: discovery.vcenterHost, at: deps.clock.now() },
        ...(gone && vm.credentialId !== null ? { goneCredentialId: vm.credentialId } : {}),
      },
    },
    context,
  );
  return linked.position;
};

const isGone = async ({ store }: Deps, credentialId: number): Promise<boolean> =>
  (await load(store, vmwareCredentialDecider, streamOf.vmwareCredential(credentialId))).state.status !== 'known';

const addOne = async (
  deps: Deps,
  { wanted, vm }: One,
  selection: VmSelection,
  request: CommandContext,
): Promise<Done> => {
  const vmPath = vm.path;
  const missing = missingOf(selection.discovery, vm);
  if (missing.length > 0) {
    const reason = `the discovery tells no ${missing.join(', no ')} of it`;
    return { outcome: { outcome: 'failed', wanted, vmPath, reason }, position: undefined };
  }
  const facts = factsOf(selection.discovery, vm);
  const at = deps.clock.now();
  const contextId = await freeContextId(deps, facts.vmName, at);
  // Ids of events come from it: two VMs of one name must not pass for one event that is sent twice.
  const context = { ...request, commandId: [request.commandId, contextId, vm.id, vm.path].join('\n') };
  const holder = await claimVm(deps, facts, contextId, context);
  if (holder) {
    const position = await linkCredential(deps, holder.contextId, selection, context);
    return { outcome: { outcome: 'skipped', wanted, vmPath, ...holder }, position };
  }
  const added = await record(deps, { facts, contextId, at }, selection, context);
  if (!('holder' in added)) return { outcome: { outcome: 'added', wanted, vmPath, contextId, facts }, ...added };
  return { outcome: { outcome: 'skipped', wanted, vmPath, ...added.holder }, position: undefined };
};

/** Requests of the same second give the same id to the same name: whoever appends first has added it. */
const record = async (
  deps: Deps,
  { facts, contextId, at }: Readonly<{ facts: VmFacts; contextId: string; at: string }>,
  { credentialId, addedBy }: VmSelection,
  context: CommandContext,
): Promise<Readonly<{ holder: Holder }> | Readonly<{ position: bigint | undefined }>> => {
  try {
    const { events, position } = await handle(
      deps.store,
      { decider: vmContextDecider, stream: streamOf.vmContext(contextId) },
      { type: 'AddVm', data: { contextId, ...facts, credentialId, addedBy, at } },
      context,
    );
    return events.length > 0 ? { position } : { holder: sameName(contextId) };
  } catch (error) {
    if (!isTaken(error)) throw error;
    await releaseName(deps, { ...identityOf(facts), holder: contextId }, context);
    return { holder: sameName(contextId) };
  }
};

/** A refusal of one VM must not keep the others out; anything else ends the request. */
const addOrFail = async (deps: Deps, one: One, selection: VmSelection, context: CommandContext): Promise<Done> => {
  try {
    return await addOne(deps, one, selection, context);
  } catch (error) {
    if (!(error instanceof DomainError)) throw error;
    const { wanted, vm } = one;
    return { outcome: { outcome: 'failed', wanted, vmPath: vm.path, reason: error.message }, position: undefined };
  }
};

const pick = ({ discovery, wanted }: VmSelection): readonly (One | string)[] => {
  if (!wanted) return discovery.vms.map((vm) => ({ wanted: vm.name, vm }));
  return [...new Set(wanted)].map((name) => {
    const vm = discovery.vms.find((found) => found.name === name) ?? discovery.vms.find((found) => found.id === name);
    return vm ? { wanted: name, vm } : name;
  });
};

const notFound = (wanted: string): Done => ({
  outcome: { outcome: 'failed', wanted, vmPath: '', reason: 'vCenter has no virtual machine of this name' },
  position: undefined,
});

/** Takes discovered VMs under management, with their disks; those that are managed already are left as they are. */
export const createAddVms =
  (deps: Deps) =>
  async (selection: VmSelection, context: CommandContext): Promise<VmsAdded> => {
    const startedMs = Date.parse(deps.clock.now());
    const picked = pick(selection);
    const done: Done[] = [];
    for (let next = 0; next < picked.length; next += atOnce) {
      const batch = picked
        .slice(next, next + atOnce)
        .map(async (one) => (typeof one === 'string' ? notFound(one) : addOrFail(deps, one, selection, context)));
      const settled = await Promise.allSettled(batch);
      for (const result of settled) {
        if (result.status === 'rejected') throw result.reason;
        done.push(result.value);
      }
    }
    return {
      outcomes: done.map(({ outcome }) => outcome),
      tookMs: Date.parse(deps.clock.now()) - startedMs,
      position: done.reduce<bigint | undefined>((last, { position }) => latest(last, position), undefined),
    };
  };

const latest = (a: bigint | undefined, b: bigint | undefined): bigint | undefined =>
  a === undefined || (b !== undefined && b > a) ? b : a;
