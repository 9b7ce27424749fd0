import { handle } from '#commands/handle.ts';
import type { Clock, EventStore } from '#commands/ports.ts';
import { sessionDecider } from '#domain/session/decide.ts';
import { streamOf } from '#domain/streams.ts';
import type { SessionStore } from '#http/auth-ports.ts';
import type { ReadModelDb } from '#projections/projection.ts';
import { sessionQueries } from '#projections/sessions.ts';
import type { LiveReadModel } from './read-model.ts';

type Deps = Readonly<{ store: EventStore; clock: Clock; db: ReadModelDb; settled: LiveReadModel['settled'] }>;

/** Logins are events, so they outlive the hub; the token itself is nowhere, only its hash. */
export const createSessionStore = ({ store, clock, db, settled }: Deps): SessionStore => {
  const queries = sessionQueries(db);
  return {
    open: async ({ tokenSha256, subject, expiresAt }, request) => {
      const { position } = await handle(
        store,
        { decider: sessionDecider, stream: streamOf.session(tokenSha256) },
        { type: 'OpenSession', data: { subject, expiresAt, at: clock.now() } },
        // Until now nobody, from here on somebody.
        { ...request, actor: subject },
      );
      await settled(position);
    },
    find: (tokenSha256) => queries.find(tokenSha256),
    close: async (tokenSha256, request) => {
      const { position } = await handle(
        store,
        { decider: sessionDecider, stream: streamOf.session(tokenSha256) },
        { type: 'CloseSession', data: { at: clock.now() } },
        request,
      );
      await settled(position);
    },
  };
};
