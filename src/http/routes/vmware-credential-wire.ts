import { z } from 'zod';
import type { CredentialChanges } from '#commands/change-vmware-credential.ts';
import type { NewCredential } from '#commands/create-vmware-credential.ts';
import type { CredentialRow } from '#projections/vmware-credentials.ts';
import { requiredText } from './plain-text.ts';

const password = z.string().max(1_024);

export const CreateBody = z.object({
  credential_name: requiredText(),
  vcenter_host: requiredText(),
  username: requiredText(),
  password: password.min(1, 'must not be empty'),
  datacenter: requiredText(),
  is_active: z.boolean().default(true),
  is_default: z.boolean().default(false),
});

export const ChangeBody = z.object({
  credential_name: requiredText().optional(),
  vcenter_host: requiredText().optional(),
  username: requiredText().optional(),
  password: password.optional().meta({ description: 'Empty or absent: the stored one stays' }),
  datacenter: requiredText().optional(),
  is_active: z.boolean().optional(),
  is_default: z.boolean().optional().meta({ description: '`false` does not unset it' }),
});

/** Never the password, in whatever form. */
const fields = {
  ...{ id: z.int(), credential_name: z.string(), vcenter_host: z.string(), username: z.string() },
  ...{ datacenter: z.string(), is_active: z.boolean(), is_default: z.boolean() },
};

export const Credential = z
  .object({
    ...fields,
    ...{ created_at: z.string(), updated_at: z.string(), created_by: z.string() },
    last_used: z.string().nullable(),
    usage_count: z.int(),
  })
  .meta({ id: 'VmwareCredential' });

export const NamedCredential = Credential.extend({ name: z.string() }).meta({ id: 'NamedVmwareCredential' });
export const DefaultCredential = z.object({ ...fields, name: z.string() }).meta({ id: 'DefaultVmwareCredential' });

export const credentialToWire = (row: CredentialRow): z.input<typeof Credential> => row;

export const namedToWire = (row: CredentialRow): z.input<typeof NamedCredential> => ({
  ...row,
  name: row.credential_name,
});

/** As the read model will show it, for the rare reply that cannot wait until it does. */
export const justCreated = (
  { password: _, ...shown }: z.output<typeof CreateBody>,
  { credentialId, createdAt, actor }: Readonly<{ credentialId: number; createdAt: string; actor: string }>,
): CredentialRow => ({
  ...{ ...shown, id: credentialId, created_by: actor, created_at: createdAt, updated_at: createdAt },
  ...{ last_used: null, usage_count: 0 },
});

export const newCredentialOf = (body: z.output<typeof CreateBody>): NewCredential => ({
  ...{ name: body.credential_name, vcenterHost: body.vcenter_host, username: body.username },
  ...{ password: body.password, datacenter: body.datacenter, isActive: body.is_active, isDefault: body.is_default },
});

export const changesOf = (body: z.output<typeof ChangeBody>): CredentialChanges => ({
  ...(body.credential_name === undefined ? {} : { name: body.credential_name }),
  ...(body.vcenter_host === undefined ? {} : { vcenterHost: body.vcenter_host }),
  ...(body.username === undefined ? {} : { username: body.username }),
  ...(body.datacenter === undefined ? {} : { datacenter: body.datacenter }),
  ...(body.password ? { password: body.password } : {}),
  ...(body.is_active === undefined ? {} : { isActive: body.is_active }),
  makeDefault: body.is_default === true,
});
