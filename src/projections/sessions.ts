import type { SessionEvent } from '#domain/session/events.ts';
import { idFromStream } from '#domain/streams.ts';
import type { Projection, ReadModelDb, Tables } from './projection.ts';

const tables: Tables = {
  sessions: [
    `create table sessions (
    token_sha256 text primary key, subject text not null, opened_at timestamptz not null, expires_at timestamptz not null)`,
  ],
};

/** Open logins, by the hash of their token. */
export const sessionsProjection: Projection<SessionEvent> = {
  name: 'sessions.v1',
  tables,
  on: {
    SessionOpened: ({ data, stream }, db) => [
      // Those that have expired are gone with the next login: the table stays as small as the number of open sessions.
      db.deleteFrom('sessions').where('expires_at', '<', data.at),
      db
        .insertInto('sessions')
        .values({
          token_sha256: idFromStream(stream),
          subject: data.subject,
          opened_at: data.at,
          expires_at: data.expiresAt,
        })
        .onConflict((conflict) => conflict.doNothing()),
    ],
    SessionClosed: ({ stream }, db) => [db.deleteFrom('sessions').where('token_sha256', '=', idFromStream(stream))],
  },
};

export const sessionQueries = (db: ReadModelDb) => ({
  find: async (tokenSha256: string) => {
    const row = await db
      .selectFrom('sessions')
      .select(['subject', 'expires_at'])
      .where('token_sha256', '=', tokenSha256)
      .executeTakeFirst();
    return row && { subject: row.subject, expiresAt: row.expires_at };
  },
});
