import { DomainError } from '#domain/errors.ts';
import type { DiscoveredVm, Discovery } from '#domain/vm-context/discovered-vm.ts';
import type { CredentialLogins } from './credential-login.ts';
import type { ManagedVmRef, ManagedVms, VcenterLogin, VmInventory } from './inventory-ports.ts';
import type { Clock, CommandContext } from './ports.ts';

/** A saved credential by its number, or a login typed in. */
export type LoginChoice = Readonly<{ credentialId: number }> | VcenterLogin;

export type Discovered = Readonly<{
  discovery: Discovery;
  /** By VM, the context that manages it already. */
  managed: ReadonlyMap<DiscoveredVm, string>;
  /** What VMs that are added from it will be opened with; null for a login typed in. */
  credentialId: number | null;
  tookMs: number;
}>;

type Deps = Readonly<{ logins: CredentialLogins; inventory: VmInventory; managedVms: ManagedVms; clock: Clock }>;

/** A credential that cannot be used is the request's fault here: it names what is of no use. */
const unusable = (error: unknown): unknown =>
  error instanceof DomainError && (error.code === 'credential-not-found' || error.code === 'credential-inactive')
    ? new DomainError('credential-unusable', error.message, error.details)
    : error;

const loginFor = async (logins: CredentialLogins, choice: LoginChoice, context: CommandContext) => {
  if (!('credentialId' in choice)) return choice;
  const login = await logins.loginOf(choice.credentialId).catch((error: unknown) => {
    throw unusable(error);
  });
  await logins.noteUse(choice.credentialId, 'discovery', context);
  return login;
};

const managedAmong = ({ vcenterHost, vms }: Discovery, refs: readonly ManagedVmRef[]): Discovered['managed'] => {
  const here = refs.filter((ref) => ref.vcenterHost === vcenterHost);
  const byId = new Map(here.map(({ vmwareVmId, contextId }) => [vmwareVmId, contextId]));
  const byName = new Map(refs.toReversed().map(({ vmName, contextId }) => [vmName, contextId]));
  return new Map(
    vms.flatMap((vm) => {
      const contextId = byId.get(vm.id) ?? byName.get(vm.name);
      return contextId === undefined ? [] : [[vm, contextId] as const];
    }),
  );
};

/** What the vCenter holds, and what of it is managed. Throws what `discover` throws, and `credential-unusable`. */
export const createDiscoverVms =
  ({ logins, inventory, managedVms, clock }: Deps) =>
  async (
    { choice, filter }: Readonly<{ choice: LoginChoice; filter: string | undefined }>,
    context: CommandContext,
    signal: AbortSignal,
  ): Promise<Discovered> => {
    const login = await loginFor(logins, choice, context);
    const startedMs = Date.parse(clock.now());
    const discovery = await inventory.discover({ ...login, ...(filter === undefined ? {} : { filter }) }, signal);
    const tookMs = Date.parse(clock.now()) - startedMs;
    const managed = managedAmong(discovery, await managedVms.managedVms());
    return { discovery, managed, credentialId: 'credentialId' in choice ? choice.credentialId : null, tookMs };
  };
