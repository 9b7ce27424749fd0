import { createHmac } from 'node:crypto';
import type { Kysely } from 'kysely';
import { z } from 'zod';
import type { VaultTables } from '../postgres/vault-tables.ts';
import { decrypt, encrypt } from '../vault/cipher.ts';

const purpose = 'vault in an export of events';

const Content = z.object({
  secrets: z.array(
    z.object({ reference: z.string(), wrapped_key: z.string(), ciphertext: z.string(), created_at: z.string() }),
  ),
  passwords: z.array(z.object({ subject: z.string(), hash: z.string(), updated_at: z.string() })),
});

export type VaultContent = z.output<typeof Content>;

/**
 * What only the vault has: secrets, each still encrypted for itself, and the hashes of people's passwords. All of it is
 * encrypted once more with the hub's key, which must be kept somewhere else.
 */
export type VaultCopy = Readonly<{ encrypted: string; fingerprint: string }>;

export const readVault = async (db: Kysely<VaultTables>): Promise<VaultContent> => ({
  secrets: await db.selectFrom('secrets').selectAll().orderBy('reference').execute(),
  passwords: await db.selectFrom('passwords').selectAll().orderBy('subject').execute(),
});

export const copyVault = (content: VaultContent, key: Buffer): VaultCopy => {
  const text = JSON.stringify(content);
  const fingerprint = createHmac('sha256', key).update(text).digest('hex');
  return { encrypted: `${encrypt(key, Buffer.from(text), purpose)}\n`, fingerprint };
};

/** Throws `Undecipherable` for another key, or for a copy that was changed. */
export const openVaultCopy = (encrypted: string, key: Buffer): VaultContent =>
  Content.parse(JSON.parse(decrypt(key, encrypted.trim(), purpose).toString()));

/** May be repeated. */
export const restoreVault = async (db: Kysely<VaultTables>, { secrets, passwords }: VaultContent): Promise<void> => {
  await db.transaction().execute(async (tx) => {
    for (const { reference, ...row } of secrets) {
      await tx
        .insertInto('secrets')
        .values({ reference, ...row })
        .onConflict((conflict) => conflict.column('reference').doUpdateSet(row))
        .execute();
    }
    for (const { subject, ...row } of passwords) {
      await tx
        .insertInto('passwords')
        .values({ subject, ...row })
        .onConflict((conflict) => conflict.column('subject').doUpdateSet(row))
        .execute();
    }
  });
};
