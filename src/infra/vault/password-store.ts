import type { Kysely } from 'kysely';
import type { VaultTables } from '../postgres/vault-tables.ts';

const admin = 'admin';

/** Hashes of people's passwords; in the vault, since a hash must not stand in the log for ever. */
export const createPasswordStore = (db: Kysely<VaultTables>, now: () => string) => ({
  adminHash: async (): Promise<string | undefined> => {
    const row = await db.selectFrom('passwords').select('hash').where('subject', '=', admin).executeTakeFirst();
    return row?.hash;
  },
  addAdminHash: async (hash: string): Promise<boolean> => {
    const { numInsertedOrUpdatedRows } = await db
      .insertInto('passwords')
      .values({ subject: admin, hash, updated_at: now() })
      .onConflict((conflict) => conflict.doNothing())
      .executeTakeFirstOrThrow();
    return numInsertedOrUpdatedRows === 1n;
  },
  replaceAdminHash: async (hash: string): Promise<void> => {
    await db
      .insertInto('passwords')
      .values({ subject: admin, hash, updated_at: now() })
      .onConflict((conflict) => conflict.column('subject').doUpdateSet({ hash, updated_at: now() }))
      .execute();
  },
});
