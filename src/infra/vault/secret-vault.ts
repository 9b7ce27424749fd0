import { randomBytes } from 'node:crypto';
import type { Kysely } from 'kysely';
import type { SecretVault } from '#commands/credential-ports.ts';
import { DomainError } from '#domain/errors.ts';
import type { VaultTables } from '../postgres/vault-tables.ts';
import { decrypt, encrypt, keyBytes, Undecipherable } from './cipher.ts';

type Options = Readonly<{
  db: Kysely<VaultTables>;
  /** The hub's key, 32 bytes; without it nothing is kept and nothing is read. */
  key: Buffer | undefined;
}>;

const unusable = (what: string, cause?: unknown): DomainError =>
  new DomainError('credential-unusable', `the stored password ${what}; enter it again`, {}, { cause });

/**
 * Secrets in PostgreSQL. Each has a random key of its own, which is stored wrapped with the hub's: destroying that row
 * makes every copy of the ciphertext unreadable.
 */
export const createSecretVault = ({ db, key }: Options): SecretVault => {
  if (key !== undefined && key.length !== keyBytes) throw new Error(`the hub's key must have ${keyBytes} bytes`);

  const hubKey = (): Buffer => {
    if (key) return key;
    throw new DomainError(
      'secret-key-missing',
      'passwords can be neither stored nor read: the hub has no secret key; set one and start it again',
    );
  };

  return {
    assertReady: () => {
      hubKey();
    },
    keep: async (reference, secret) => {
      const dataKey = randomBytes(keyBytes);
      const row = {
        wrapped_key: encrypt(hubKey(), dataKey, `key of ${reference}`),
        ciphertext: encrypt(dataKey, Buffer.from(secret), reference),
        created_at: new Date().toISOString(),
      };
      await db
        .insertInto('secrets')
        .values({ reference, ...row })
        .onConflict((conflict) => conflict.column('reference').doUpdateSet(row))
        .execute();
    },
    reveal: async (reference) => {
      const wrapping = hubKey();
      const row = await db.selectFrom('secrets').selectAll().where('reference', '=', reference).executeTakeFirst();
      if (!row) throw unusable('is gone');
      try {
        const dataKey = decrypt(wrapping, row.wrapped_key, `key of ${reference}`);
        return decrypt(dataKey, row.ciphertext, reference).toString();
      } catch (error) {
        if (error instanceof Undecipherable) throw unusable("cannot be read with the hub's secret key", error);
        throw error;
      }
    },
    forget: async (reference) => {
      await db.deleteFrom('secrets').where('reference', '=', reference).execute();
    },
    list: async (prefix) => {
      const rows = await db.selectFrom('secrets').select(['reference', 'created_at']).orderBy('reference').execute();
      return rows
        .filter(({ reference }) => reference.startsWith(prefix))
        .map(({ reference, created_at }) => ({ reference, keptAt: created_at }));
    },
  };
};
