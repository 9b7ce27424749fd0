import { sql } from 'kysely';
import type { CredentialUsageEvent } from '#domain/vmware-credential/credential-usage.ts';
import type { DefaultCredentialEvent } from '#domain/vmware-credential/default-credential.ts';
import type { VmwareCredentialEvent } from '#domain/vmware-credential/vmware-credential.ts';
import type { Projection, ReadModelDb, Tables } from './projection.ts';
import type { CredentialTable } from './read-model.ts';

type CredentialsEvent = VmwareCredentialEvent | DefaultCredentialEvent | CredentialUsageEvent;

const tables: Tables = {
  vmware_credentials: [
    `create table vmware_credentials (
    id integer primary key, credential_name text not null, vcenter_host text not null, username text not null,
    datacenter text not null, is_active boolean not null, is_default boolean not null, created_by text not null,
    created_at timestamptz not null, updated_at timestamptz not null, last_used timestamptz,
    usage_count integer not null)`,
  ],
};

/** Saved vCenter logins. `is_default` mirrors the choice; one that is switched off is not the default while it is. */
export const vmwareCredentialsProjection: Projection<CredentialsEvent> = {
  name: 'vmware-credentials.v1',
  tables,
  on: {
    VmwareCredentialCreated: ({ data }, db) => [
      db.insertInto('vmware_credentials').values({
        ...{ id: data.credentialId, credential_name: data.name, vcenter_host: data.vcenterHost },
        ...{ username: data.username, datacenter: data.datacenter, is_active: data.isActive, is_default: false },
        ...{ created_by: data.createdBy, created_at: data.at, updated_at: data.at },
        ...{ last_used: null, usage_count: 0 },
      }),
    ],
    VmwareCredentialDetailsChanged: ({ data }, db) => [
      update(db, data, {
        ...{ credential_name: data.name, vcenter_host: data.vcenterHost },
        ...{ username: data.username, datacenter: data.datacenter },
      }),
    ],
    VmwareCredentialPasswordChanged: ({ data }, db) => [update(db, data, {})],
    VmwareCredentialActivated: ({ data }, db) => [update(db, data, { is_active: true })],
    VmwareCredentialDeactivated: ({ data }, db) => [update(db, data, { is_active: false })],
    VmwareCredentialDeleted: ({ data }, db) => [
      db.deleteFrom('vmware_credentials').where('id', '=', data.credentialId),
    ],
    DefaultCredentialChosen: ({ data }, db) => [
      db.updateTable('vmware_credentials').set({ is_default: sql<boolean>`id = ${data.credentialId}` }),
    ],
    DefaultCredentialCleared: (_event, db) => [db.updateTable('vmware_credentials').set({ is_default: false })],
    VmwareCredentialUsed: ({ data }, db) => [
      db
        .updateTable('vmware_credentials')
        .set({ usage_count: data.usageCount, last_used: data.at })
        .where('id', '=', data.credentialId),
    ],
  },
};

const update = (
  db: ReadModelDb,
  { credentialId, at }: Readonly<{ credentialId: number; at: string }>,
  columns: Partial<Omit<CredentialTable, 'id'>>,
) =>
  db
    .updateTable('vmware_credentials')
    .set({ ...columns, updated_at: at })
    .where('id', '=', credentialId);

export type CredentialRow = CredentialTable;

const asShown = (row: CredentialRow): CredentialRow => ({ ...row, is_default: row.is_default && row.is_active });

export const credentialQueries = (db: ReadModelDb) => {
  const credentials = () => db.selectFrom('vmware_credentials').selectAll();
  const countBy = async (query: Promise<Readonly<{ count: number }>>): Promise<number> => (await query).count;

  return {
    list: async (): Promise<readonly CredentialRow[]> =>
      (await credentials().orderBy('credential_name').orderBy('id').execute()).map(asShown),
    find: async (id: number): Promise<CredentialRow | undefined> => {
      const row = await credentials().where('id', '=', id).executeTakeFirst();
      return row && asShown(row);
    },
    findDefault: (): Promise<CredentialRow | undefined> =>
      credentials().where('is_default', '=', true).where('is_active', '=', true).executeTakeFirst(),
    highestId: async (): Promise<number> =>
      (
        await db
          .selectFrom('vmware_credentials')
          .select((eb) => eb.fn.coalesce(eb.fn.max('id'), eb.lit(0)).as('highest'))
          .executeTakeFirstOrThrow()
      ).highest,
    otherActive: (credentialId: number): Promise<number> =>
      countBy(
        db
          .selectFrom('vmware_credentials')
          .select((eb) => eb.fn.countAll<number>().as('count'))
          .where('is_active', '=', true)
          .where('id', '!=', credentialId)
          .executeTakeFirstOrThrow(),
      ),
    vmsUsing: (credentialId: number): Promise<number> =>
      countBy(
        db
          .selectFrom('vm_contexts')
          .select((eb) => eb.fn.countAll<number>().as('count'))
          .where('credential_id', '=', credentialId)
          .executeTakeFirstOrThrow(),
      ),
    /** False for one that was deleted or is switched off. */
    isUsable: async (credentialId: number): Promise<boolean> =>
      (await db
        .selectFrom('vmware_credentials')
        .select('id')
        .where('id', '=', credentialId)
        .where('is_active', '=', true)
        .executeTakeFirst()) !== undefined,
  };
};

export type CredentialQueries = ReturnType<typeof credentialQueries>;
