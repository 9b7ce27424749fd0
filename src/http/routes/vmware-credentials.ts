import { z } from 'zod';
import type { createChangeVmwareCredential } from '#commands/change-vmware-credential.ts';
import type { createChooseDefaultCredential } from '#commands/choose-default-credential.ts';
import type { createCreateVmwareCredential } from '#commands/create-vmware-credential.ts';
import type { createDeleteVmwareCredential } from '#commands/delete-vmware-credential.ts';
import type { createTestVmwareCredential } from '#commands/test-vmware-credential.ts';
import { DomainError } from '#domain/errors.ts';
import { noSuchCredential } from '#domain/vmware-credential/vmware-credential.ts';
import type { CredentialQueries } from '#projections/vmware-credentials.ts';
import { HttpProblem, problemOf } from '../errors.ts';
import { sha256Hex } from '../request.ts';
import { answer, type Endpoint, resource } from '../route.ts';
import {
  ChangeBody,
  CreateBody,
  Credential,
  changesOf,
  credentialToWire,
  DefaultCredential,
  justCreated,
  NamedCredential,
  namedToWire,
  newCredentialOf,
} from './vmware-credential-wire.ts';

export type VmwareCredentialRoutesDeps = Readonly<{
  credentials: Pick<CredentialQueries, 'list' | 'find' | 'findDefault'>;
  createCredential: ReturnType<typeof createCreateVmwareCredential>;
  changeCredential: ReturnType<typeof createChangeVmwareCredential>;
  deleteCredential: ReturnType<typeof createDeleteVmwareCredential>;
  chooseDefault: ReturnType<typeof createChooseDefaultCredential>;
  testCredential: ReturnType<typeof createTestVmwareCredential>;
  /** Waits until the read model has passed the position; headers for the reply. */
  settled: (position: bigint | undefined) => Promise<Readonly<Record<string, string>>>;
}>;

const Params = z.object({
  id: z
    .string()
    .regex(/^\d{1,9}$/, 'must be an integer')
    .transform(Number),
});

const Done = z.object({ status: z.literal('success'), message: z.string() });
const done = (message: string) => ({ status: 'success', message }) as const;

/** One page of the console judges by the status, the other by `success`. */
const failedTest = (error: unknown): unknown => {
  if (!(error instanceof DomainError)) return error;
  const problem = problemOf(error);
  return new HttpProblem({ ...problem, extra: { success: false, status: 'failed' } }, { cause: error });
};

export const vmwareCredentialEndpoints = (deps: VmwareCredentialRoutesDeps): readonly Endpoint[] => {
  const { credentials, settled } = deps;
  const { endpoint } = resource({ tag: 'vCenter credentials', group: 'group02' });

  return [
    endpoint('GET /vmware-credentials', {
      summary: 'Lists saved vCenter logins, without their passwords',
      reply: z.object({ credentials: z.array(Credential), count: z.int(), status: z.literal('success') }),
      handle: async () => {
        const rows = await credentials.list();
        return { credentials: rows.map(credentialToWire), count: rows.length, status: 'success' };
      },
    }),
    endpoint('POST /vmware-credentials', {
      summary: 'Saves a vCenter login',
      body: CreateBody,
      audit: {
        ...{ action: 'CreateCredential', object: 'vmwareCredential', id: ['reply.credential.id'] },
        facts: ['credential_name', 'vcenter_host'],
      },
      dryRun: true,
      reply: z.object({ credential: Credential, status: z.literal('success'), message: z.string() }),
      errors: ['name-taken', 'secret-key-missing', 'credential-inactive', 'idempotency-key-reused'],
      handle: async ({ body, context, idempotency, actor }) => {
        // Not the digest of the whole body: a digest of a password in the log is one that can be guessed at for ever.
        const requestSha256 = sha256Hex(JSON.stringify({ ...body, password: '' }));
        const request = idempotency && { operation: 'create-vmware-credential', requestSha256 };
        const created = await deps.createCredential(newCredentialOf(body), context(), request);
        const headers = await settled(created.position);
        const row = (await credentials.find(created.credentialId)) ?? justCreated(body, { ...created, actor });
        const message = `Credential "${row.credential_name}" saved`;
        return answer(200, { credential: credentialToWire(row), ...done(message) }, headers);
      },
    }),
    endpoint('GET /vmware-credentials/default', {
      summary: 'The default login',
      reply: z.object({ credentials: DefaultCredential, status: z.literal('success') }),
      errors: ['credential-not-found'],
      handle: async () => {
        const row = await credentials.findDefault();
        if (!row) throw new DomainError('credential-not-found', 'no vCenter credential is the default; choose one');
        return { credentials: namedToWire(row), status: 'success' };
      },
    }),
    endpoint('GET /vmware-credentials/:id', {
      summary: 'One saved login, without its password; one that is switched off as well',
      params: Params,
      reply: NamedCredential,
      errors: ['credential-not-found'],
      handle: async ({ params }) => {
        const row = await credentials.find(params.id);
        if (!row) throw noSuchCredential(params.id);
        return namedToWire(row);
      },
    }),
    endpoint('PUT /vmware-credentials/:id', {
      summary: 'Changes a saved login; what is left out stays',
      params: Params,
      body: ChangeBody,
      audit: {
        action: 'ChangeCredential',
        object: 'vmwareCredential',
        id: ['path.id'],
        facts: ['credential_name', 'vcenter_host'],
      },
      dryRun: true,
      reply: Done,
      errors: ['credential-not-found', 'name-taken', 'credential-inactive', 'secret-key-missing'],
      handle: async ({ params, body, context }) => {
        const { name, position } = await deps.changeCredential(params.id, changesOf(body), context());
        return answer(200, done(`Credential "${name}" updated`), await settled(position));
      },
    }),
    endpoint('DELETE /vmware-credentials/:id', {
      summary: 'Deletes a login that no virtual machine uses, and destroys its password',
      audit: { action: 'DeleteCredential', object: 'vmwareCredential', id: ['path.id'] },
      dryRun: true,
      params: Params,
      reply: Done,
      errors: ['credential-not-found', 'credential-in-use', 'credential-last-active'],
      handle: async ({ params, context }) => {
        const { name, position } = await deps.deleteCredential(params.id, context());
        return answer(200, done(`Credential "${name}" deleted`), await settled(position));
      },
    }),
    endpoint('PUT /vmware-credentials/:id/set-default', {
      summary: 'Makes it the default, and no other',
      audit: { action: 'ChooseDefaultCredential', object: 'vmwareCredential', id: ['path.id'] },
      dryRun: true,
      params: Params,
      reply: Done,
      errors: ['credential-not-found', 'credential-inactive'],
      handle: async ({ params, context }) => {
        const { name, position } = await deps.chooseDefault(params.id, context());
        return answer(200, done(`Credential "${name}" is the default now`), await settled(position));
      },
    }),
    endpoint('POST /vmware-credentials/:id/test', {
      summary: 'Logs in to the vCenter with the stored password',
      audit: { action: 'TestCredential', object: 'vmwareCredential', id: ['path.id'] },
      params: Params,
      reply: Done.extend({ success: z.literal(true) }),
      errors: [
        ...(['credential-not-found', 'credential-unusable', 'secret-key-missing', 'source-refused'] as const),
        ...(['node-unreachable', 'node-timeout', 'node-error'] as const),
      ],
      handle: async ({ params, context, signal }) => {
        const { position } = await deps.testCredential(params.id, context(), signal).catch((error: unknown) => {
          throw failedTest(error);
        });
        return answer(200, { success: true, ...done('vCenter accepted the login') }, await settled(position));
      },
    }),
  ];
};
