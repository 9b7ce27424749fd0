import { type Kysely, sql } from 'kysely';

export const up = async (db: Kysely<unknown>): Promise<void> => {
  await sql`create table secrets (
    reference text primary key, wrapped_key text not null, ciphertext text not null, created_at timestamptz not null)`.execute(
    db,
  );
  await sql`create table passwords (
    subject text primary key, hash text not null, updated_at timestamptz not null)`.execute(db);
};
