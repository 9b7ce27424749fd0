import { streamOf } from '#domain/streams.ts';
import { defaultCredentialDecider } from '#domain/vmware-credential/default-credential.ts';
import { assertActive, loadCredential } from './credential-login.ts';
import { handle } from './handle.ts';
import type { Clock, CommandContext, EventStore } from './ports.ts';

type Deps = Readonly<{ store: EventStore; clock: Clock }>;

/** Makes one active credential the default and no other. Throws `credential-not-found`, `credential-inactive`. */
export const createChooseDefaultCredential =
  ({ store, clock }: Deps) =>
  async (
    credentialId: number,
    context: CommandContext,
  ): Promise<Readonly<{ name: string; position: bigint | undefined }>> => {
    const credential = await loadCredential(store, credentialId);
    assertActive(credential);
    const { position } = await handle(
      store,
      { decider: defaultCredentialDecider, stream: streamOf.defaultCredential() },
      { type: 'ChooseDefault', data: { credentialId, at: clock.now() } },
      context,
    );
    return { name: credential.name, position };
  };
