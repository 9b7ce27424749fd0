import { z } from 'zod';
import type { AuditVerification } from '#commands/verify-audit.ts';
import type { AuditFilter, AuditRow } from '#projections/audit.ts';
import { HttpProblem } from '../errors.ts';
import { filter } from './backup-query.ts';

const Append = z
  .object({
    stream: z.string(),
    types: z.array(z.string()).readonly(),
    ids: z.array(z.string()).readonly(),
    revision: z.string().meta({ description: 'Of the last of these events, as is the position; decimals' }),
    position: z.string(),
  })
  .readonly();

export const AuditRecord = z
  .object({
    id: z.string(),
    n: z.int().meta({ description: 'Number in the trail, from 1, without gaps' }),
    ts: z.string(),
    actor: z.string(),
    source: z.string().meta({ description: 'http, or cli for the command line of the hub’s host' }),
    event_type: z.string().meta({ description: 'The command: StartBackup, DeleteBackup, Login, …' }),
    entity_type: z.string(),
    entity_id: z.string().nullable(),
    job_id: z.string().nullable(),
    outcome: z.enum(['accepted', 'refused', 'failed']),
    dry_run: z.boolean(),
    status: z.int(),
    code: z.string().nullable(),
    reason: z.string().nullable(),
    address: z.string(),
    request_id: z.string(),
    correlation_id: z.string(),
    data: z.record(z.string(), z.string()),
    appended: z.array(Append).readonly(),
    hash: z.string().meta({ description: 'Running SHA-256 up to and with this entry' }),
  })
  .meta({ id: 'AuditRecord' });

export const auditToWire = (row: AuditRow): z.input<typeof AuditRecord> => ({
  ...{ id: row.id, n: Number(row.n), ts: row.at, actor: row.actor, source: row.source, event_type: row.action },
  ...{ entity_type: row.object_type, entity_id: row.object_id },
  job_id: row.object_type === 'backup' || row.object_type === 'job' ? row.object_id : null,
  ...{ outcome: row.outcome, dry_run: row.dry_run, status: row.status, code: row.code, reason: row.reason },
  ...{ address: row.address, request_id: row.request_id, correlation_id: row.correlation_id },
  ...{ data: { ...row.facts }, appended: row.appends, hash: row.hash },
});

const time = z
  .string()
  .optional()
  .transform((text, context) => {
    if (text === undefined || text === '') return undefined;
    const ms = Date.parse(text);
    if (/^\d{4}-\d{2}-\d{2}/.test(text) && !Number.isNaN(ms)) return new Date(ms).toISOString();
    context.addIssue('must be a time such as 2026-11-22T05:00:00Z');
    return z.NEVER;
  });

const number = (fallback: number, least: number, most: number) =>
  z
    .string()
    .regex(/^\d{1,9}$/, 'must be a whole number')
    .optional()
    .transform((text) => Math.max(least, Math.min(most, text === undefined ? fallback : Number(text))));

const cursor = z
  .string()
  .optional()
  .transform((text, context) => {
    if (text === undefined || text === '') return undefined;
    const n = /^n(\d{1,15})$/.exec(Buffer.from(text, 'base64url').toString())?.[1];
    if (n !== undefined) return Number(n);
    context.addIssue('must be a next_cursor of an earlier page');
    return z.NEVER;
  });

export const cursorOf = (row: AuditRow): string => Buffer.from(`n${row.n}`).toString('base64url');

export const AuditQuery = z.object({
  ...{ from: time, to: time, since: time, until: time },
  ...{ actor: filter, action: filter, type: filter, event_type: filter },
  object: filter.meta({ description: 'An id, or anything that was kept of the command: a VM’s name, a repository' }),
  ...{ object_type: filter, entity_type: filter, entity_id: filter },
  outcome: z.enum(['accepted', 'refused', 'failed']).optional(),
  ...{ limit: number(50, 1, 500), offset: number(0, 0, 999_999_999), cursor },
  format: z.enum(['json', 'csv', 'ndjson']).optional(),
});

/** Both generations of names; the shorter one counts where both are given. */
export const filterOf = (query: z.output<typeof AuditQuery>): AuditFilter => ({
  ...{ from: query.from ?? query.since, to: query.to ?? query.until, actor: query.actor },
  ...{ action: query.action ?? query.type ?? query.event_type },
  ...{ objectType: query.object_type ?? query.entity_type, object: query.object ?? query.entity_id },
  outcome: query.outcome,
});

export type AuditForm = 'json' | 'csv' | 'ndjson';
export const contentTypes = { csv: 'text/csv', ndjson: 'application/x-ndjson' } as const;

/** The query beats the header, which a browser sends with every type there is. */
export const formOf = (asked: AuditForm | undefined, accept: string | undefined): AuditForm => {
  if (asked !== undefined) return asked;
  const types = (accept ?? '').split(',').map((part) => part.split(';')[0]?.trim().toLowerCase());
  const known = types.find(
    (type) => type === 'application/json' || type === contentTypes.csv || type === contentTypes.ndjson,
  );
  if (known === contentTypes.csv) return 'csv';
  return known === contentTypes.ndjson ? 'ndjson' : 'json';
};

const columns = [
  ...([
    'n',
    'ts',
    'actor',
    'source',
    'event_type',
    'entity_type',
    'entity_id',
    'outcome',
    'dry_run',
    'status',
  ] as const),
  ...(['code', 'reason', 'address', 'request_id', 'correlation_id', 'data', 'appended', 'id', 'hash'] as const),
];

/** A spreadsheet takes a cell that begins so for a formula and runs it: the quote before it makes it a text. */
const formula = /^[=+\-@\t\r]/;

const cell = (value: unknown): string => {
  const text = value === null ? '' : typeof value === 'object' ? JSON.stringify(value) : String(value);
  const harmless = formula.test(text) ? `'${text}` : text;
  return `"${harmless.replaceAll('"', '""')}"`;
};

type Rows = AsyncIterable<AuditRow>;

/** RFC 4180. */
export const csvOf = async function* (rows: Rows): AsyncIterable<string> {
  yield `${columns.join(',')}\r\n`;
  for await (const row of rows) {
    const wire = auditToWire(row);
    yield `${columns.map((column) => cell(wire[column])).join(',')}\r\n`;
  }
};

export const ndjsonOf = async function* (rows: Rows): AsyncIterable<string> {
  for await (const row of rows) yield `${JSON.stringify(auditToWire(row))}\n`;
};

/** A cursor names where a page ended; an offset counts from the newest, which moves. */
export const refuseBoth = (query: z.output<typeof AuditQuery>): void => {
  if (query.cursor === undefined || query.offset === 0) return;
  const message = 'Invalid request: send a cursor or an offset, not both';
  throw new HttpProblem({ status: 400, code: 'invalid-request', message });
};

export const Verification = z
  .object({
    ok: z.boolean(),
    ...{ days: z.int(), batches: z.int(), entries: z.int() },
    head: z
      .object({ stream: z.string(), revision: z.string(), position: z.string(), hash: z.string() })
      .readonly()
      .nullable(),
    anchors: z.object({
      ...{ files: z.int(), checked: z.int() },
      unreachable: z.array(z.object({ place: z.string(), reason: z.string() }).readonly()).readonly(),
    }),
    difference: z
      .object({
        kind: z.enum(['changed', 'removed', 'inserted', 'truncated', 'anchor-disagrees', 'unreadable']),
        ...{ stream: z.string(), revision: z.string().nullable(), position: z.string().nullable() },
        entry: z.object({ n: z.int(), id: z.string().nullable() }).readonly().nullable(),
        detail: z.string(),
      })
      .readonly()
      .nullable(),
  })
  .meta({ id: 'AuditVerification' });

export const verificationToWire = (verification: AuditVerification): z.input<typeof Verification> => verification;
