import type { CredentialLogins } from './credential-login.ts';
import type { VmInventory } from './inventory-ports.ts';
import type { CommandContext, Ids } from './ports.ts';

type Deps = Readonly<{ logins: CredentialLogins; inventory: VmInventory; ids: Ids }>;

/**
 * Logs in to the vCenter with the saved password and reads the datacenter. Throws what `discover` throws, and what a
 * missing or unreadable password throws.
 */
export const createTestVmwareCredential =
  ({ logins, inventory, ids }: Deps) =>
  async (
    credentialId: number,
    context: CommandContext,
    signal: AbortSignal,
  ): Promise<Readonly<{ position: bigint | undefined }>> => {
    const login = await logins.storedLoginOf(credentialId);
    const position = await logins.noteUse(credentialId, 'test', context);
    // No VM has such a name: the answer is short, and the login and the datacenter are tried all the same.
    await inventory.discover({ ...login, filter: `no-such-vm-${ids.uuid()}` }, signal);
    return { position };
  };
