import { randomUUID } from 'node:crypto';
import type { AuditTrail } from '#commands/audit-ports.ts';
import type { AuditEntry, AuditOutcome } from '#domain/audit/entry.ts';
import type { RequestRecord } from './request-record.ts';

/**
 * What an endpoint tells the audit trail of its command. Only what is named here is kept: texts, numbers and truth values
 * that people filter by, never anything that could be a password.
 */
export type CommandAudit = Readonly<{
  /** A stable name in the imperative: `StartBackup`. */
  action: string;
  /** What it is done to: `backup`. */
  object: string;
  /** Where the object's id is, the first that is there: `path.backup_id`, `reply.repository.id`, `body.job_id`. */
  id?: readonly string[];
  /** Keys of the body that are worth keeping. */
  facts?: readonly string[];
}>;

/**
 * `machine-fact`: what a machine reports of its own work. It is no command, and it is an event of its own already: an entry
 * would double the log with every telemetry post.
 */
export type EndpointAudit = CommandAudit | 'machine-fact';

/** What only a handler knows. */
export type AuditNote = Readonly<{ actor?: string; objectId?: string; code?: string; reason?: string }>;

export type Outcome = Readonly<{ status: number; code: string | null; reason: string | null; reply: unknown }>;

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null;

const textOf = (value: unknown): string | undefined => {
  if (typeof value === 'string') return value;
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : undefined;
};

const lookUp = (parts: object, path: string): string | undefined => {
  let value: unknown = parts;
  for (const key of path.split('.')) value = isObject(value) && Object.hasOwn(value, key) ? value[key] : undefined;
  return textOf(value);
};

const outcomeOf = (status: number): AuditOutcome => {
  if (status < 400) return 'accepted';
  return status < 500 ? 'refused' : 'failed';
};

const entryOf = (record: RequestRecord, declared: CommandAudit, outcome: Outcome): AuditEntry => {
  const { note, input, actor = 'anonymous', appends } = record;
  const parts = { path: input?.params, body: input?.body, reply: outcome.reply };
  const ids = (declared.id ?? []).flatMap((path) => lookUp(parts, path) ?? []);
  const facts = (declared.facts ?? []).flatMap((key) => {
    const value = lookUp(parts, `body.${key}`);
    return value === undefined ? [] : [[key, value] as const];
  });
  return {
    ...{ id: randomUUID(), at: new Date().toISOString(), actor: note.actor ?? actor },
    ...{ source: actor === 'operator:local' ? 'cli' : 'http', action: declared.action },
    ...{ objectType: declared.object, objectId: note.objectId ?? ids[0] ?? null },
    ...{ outcome: outcomeOf(outcome.status), dryRun: record.dryRun, status: outcome.status },
    ...{ code: outcome.code ?? note.code ?? null, reason: outcome.reason ?? note.reason ?? null },
    ...{ address: record.address, requestId: record.requestId },
    ...{ correlationId: record.correlationId ?? record.requestId, facts: Object.fromEntries(facts) },
    ...{ appends: [...appends], moreAppends: 0 },
  };
};

const perMinute = 10;
const windowMs = 60_000;
const maxKeys = 1_000;

/**
 * Who has not proved to be anybody must not be able to fill the log: so many refusals a minute of one address and action are
 * kept each; the next one that is kept tells how many were not.
 */
const createStrangers = () => {
  const seen = new Map<string, { sinceMs: number; count: number }>();
  return {
    /** How many were left out since the last that was kept; undefined for one that is left out itself. */
    admit: (key: string, nowMs: number): number | undefined => {
      const known = seen.get(key);
      if (known && nowMs - known.sinceMs < windowMs) {
        known.count += 1;
        return known.count <= perMinute ? 0 : undefined;
      }
      seen.delete(key);
      seen.set(key, { sinceMs: nowMs, count: 1 });
      const [oldest] = seen.keys();
      if (seen.size > maxKeys && oldest !== undefined) seen.delete(oldest);
      return Math.max(0, (known?.count ?? 0) - perMinute);
    },
  };
};

export interface Auditor {
  /** Returns once the command's entry is on disk, or the trail's patience is over. */
  record(record: RequestRecord, outcome: Outcome): Promise<void>;
  /** The same, beside what the handler still waits for; `record` then waits for it in place of a second entry. */
  recordEarly(record: RequestRecord, reply: unknown): void;
}

/** For applications without a trail: parts that are tested by themselves. */
const none: Auditor = { record: async () => undefined, recordEarly: () => undefined };

export const createAuditor = (trail: AuditTrail | undefined): Auditor => {
  if (!trail) return none;
  const strangers = createStrangers();

  const keep = async (record: RequestRecord, declared: CommandAudit, outcome: Outcome): Promise<void> => {
    const entry = entryOf(record, declared, outcome);
    const stranger = entry.actor === 'anonymous' && entry.outcome !== 'accepted';
    const leftOut = stranger ? strangers.admit(`${entry.action} ${entry.address}`, Date.now()) : 0;
    if (leftOut === undefined) return;
    await trail.record(leftOut === 0 ? entry : { ...entry, facts: { ...entry.facts, left_out_before: `${leftOut}` } });
  };

  return {
    record: async (record, outcome) => {
      const declared = record.endpoint?.audit;
      if (declared === undefined || declared === 'machine-fact' || record.ended) return;
      record.ended = true;
      if (record.early && outcome.status < 400) return record.early;
      // Accepted at first, and then it came to nothing: both are true, both are told.
      await keep(record, declared, outcome);
    },
    recordEarly: (record, reply) => {
      const declared = record.endpoint?.audit;
      if (declared === undefined || declared === 'machine-fact' || record.dryRun || record.early) return;
      const outcome = { status: 200, code: null, reason: null, reply };
      record.note = { ...record.note, ...idOf(entryOf(record, declared, outcome)) };
      record.early = keep(record, declared, outcome);
    },
  };
};

const idOf = ({ objectId }: AuditEntry): AuditNote => (objectId === null ? {} : { objectId });
