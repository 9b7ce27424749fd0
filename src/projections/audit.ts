import { type JSONColumnType, type Selectable, type SelectQueryBuilder, sql } from 'kysely';
import type { SealedEntry } from '#domain/audit/chain.ts';
import type { AuditedAppend, AuditOutcome } from '#domain/audit/entry.ts';
import type { AuditEvent } from '#domain/audit/events.ts';
import type { Projection, ReadModelDb, Tables } from './projection.ts';
import type { ReadModel } from './read-model.ts';

export type AuditEntryTable = {
  /** Number in the trail, from 1: the order in which entries were recorded. */
  n: number;
  id: string;
  at: string;
  actor: string;
  source: string;
  action: string;
  object_type: string;
  object_id: string | null;
  outcome: AuditOutcome;
  dry_run: boolean;
  status: number;
  code: string | null;
  reason: string | null;
  address: string;
  request_id: string;
  correlation_id: string;
  facts: JSONColumnType<Record<string, string>>;
  appends: JSONColumnType<readonly AuditedAppend[]>;
  /** What it can be found by as an object: its id, and the facts. */
  subjects: JSONColumnType<readonly string[]>;
  hash: string;
  /** Of the event that holds it. */
  position: string;
};

export type AuditRow = Selectable<AuditEntryTable>;

const tables: Tables = {
  audit_entries: [
    `create table audit_entries (
    n bigint primary key, id text not null, at timestamptz not null, actor text not null, source text not null,
    action text not null, object_type text not null, object_id text, outcome text not null, dry_run boolean not null,
    status integer not null, code text, reason text, address text not null, request_id text not null,
    correlation_id text not null, facts jsonb not null, appends jsonb not null, subjects jsonb not null,
    hash text not null, position numeric(20) not null)`,
    'create index audit_entries_by_time on audit_entries (at)',
    'create index audit_entries_by_actor on audit_entries (actor, n)',
    'create index audit_entries_by_action on audit_entries (action, n)',
    'create index audit_entries_by_subject on audit_entries using gin (subjects jsonb_path_ops)',
  ],
};

const rowOf = (entry: SealedEntry, position: bigint) => ({
  ...{ n: entry.n, id: entry.id, at: entry.at, actor: entry.actor, source: entry.source, action: entry.action },
  ...{ object_type: entry.objectType, object_id: entry.objectId, outcome: entry.outcome, dry_run: entry.dryRun },
  ...{ status: entry.status, code: entry.code, reason: entry.reason, address: entry.address },
  ...{ request_id: entry.requestId, correlation_id: entry.correlationId, hash: entry.hash },
  facts: JSON.stringify(entry.facts),
  appends: JSON.stringify(entry.appends),
  subjects: JSON.stringify([...(entry.objectId === null ? [] : [entry.objectId]), ...Object.values(entry.facts)]),
  position: position.toString(),
});

/** Every command there was, accepted or refused. */
export const auditProjection: Projection<AuditEvent> = {
  name: 'audit.v1',
  tables,
  on: {
    AuditBatchRecorded: ({ data, position }, db) => [
      db
        .insertInto('audit_entries')
        .values(data.entries.map((entry) => rowOf(entry, position)))
        // Numbers are unique unless somebody tampered with the log, which is for `audit verify` to tell.
        .onConflict((conflict) => conflict.doNothing()),
    ],
    AuditDayClosed: () => [],
  },
};

export type AuditFilter = Readonly<{
  /** ISO 8601; from this time on. */
  from?: string | undefined;
  /** Before this time. */
  to?: string | undefined;
  actor?: string | undefined;
  action?: string | undefined;
  objectType?: string | undefined;
  /** An id, or any fact that was kept: a VM's name, a repository. */
  object?: string | undefined;
  outcome?: AuditOutcome | undefined;
}>;

export type AuditPage = Readonly<{ before?: number | undefined; limit: number; offset?: number | undefined }>;

type Select<O> = SelectQueryBuilder<ReadModel, 'audit_entries', O>;

const filtered = <O>(query: Select<O>, filter: AuditFilter): Select<O> => {
  const { from, to, actor, action, objectType, object, outcome } = filter;
  let wanted = query;
  if (from !== undefined) wanted = wanted.where('at', '>=', from);
  if (to !== undefined) wanted = wanted.where('at', '<', to);
  if (actor !== undefined) wanted = wanted.where('actor', '=', actor);
  if (action !== undefined) wanted = wanted.where('action', '=', action);
  if (objectType !== undefined) wanted = wanted.where('object_type', '=', objectType);
  if (outcome !== undefined) wanted = wanted.where('outcome', '=', outcome);
  if (object !== undefined) wanted = wanted.where(sql<boolean>`subjects @> ${JSON.stringify([object])}::jsonb`);
  return wanted;
};

const exportPage = 500;

export const auditQueries = (db: ReadModelDb) => {
  /** Newest first; `before`: older than the entry of that number. */
  const list = (filter: AuditFilter, { before, limit, offset = 0 }: AuditPage) => {
    const query = filtered(db.selectFrom('audit_entries').selectAll(), filter).orderBy('n', 'desc');
    const older = before === undefined ? query : query.where('n', '<', before);
    return older.limit(limit).offset(offset).execute();
  };

  return {
    list,

    count: async (filter: AuditFilter): Promise<number> => {
      const { count } = await filtered(
        db.selectFrom('audit_entries').select(({ fn }) => fn.countAll<number>().as('count')),
        filter,
      ).executeTakeFirstOrThrow();
      return Number(count);
    },

    /** All of them, newest first, a page at a time: what comes while it runs is newer than all of it. */
    all: async function* (filter: AuditFilter, newest?: number): AsyncIterable<AuditRow> {
      for (let before = newest; ; ) {
        const page: readonly AuditRow[] = await list(filter, { before, limit: exportPage });
        yield* page;
        const last = page.at(-1);
        if (!last || page.length < exportPage) return;
        before = last.n;
      }
    },
  };
};

export type AuditQueries = ReturnType<typeof auditQueries>;
