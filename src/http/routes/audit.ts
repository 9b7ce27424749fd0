import { z } from 'zod';
import type { AuditVerification } from '#commands/verify-audit.ts';
import type { AuditQueries } from '#projections/audit.ts';
import { answer, type Endpoint, OtherForm, resource } from '../route.ts';
import {
  AuditQuery,
  AuditRecord,
  auditToWire,
  contentTypes,
  csvOf,
  cursorOf,
  filterOf,
  formOf,
  ndjsonOf,
  refuseBoth,
  Verification,
  verificationToWire,
} from './audit-wire.ts';

export type AuditRoutesDeps = Readonly<{
  audit: AuditQueries;
  /** Walks the whole trail; throws when the log cannot be read. */
  verify: (signal: AbortSignal) => Promise<AuditVerification>;
  /** Waits until the read model holds what this hub recorded; headers for the reply. */
  settled: () => Promise<Readonly<Record<string, string>>>;
}>;

export const auditEndpoints = ({ audit, verify, settled }: AuditRoutesDeps): readonly Endpoint[] => {
  const { endpoint } = resource({ tag: 'Audit', group: 'E1' });
  return [
    endpoint('GET /audit', {
      summary: 'Every command, accepted or refused: who, what, when, from where; newest first',
      description:
        'CSV and NDJSON (`format`, or the Accept header) hold everything that fits the filter, whatever `limit` says. ' +
        '`since`, `until`, `type`, `entity_type` and `entity_id` are other names of `from`, `to`, `action`, ' +
        '`object_type` and `object`.',
      query: AuditQuery,
      reply: z.object({
        events: z.array(AuditRecord),
        count: z.int(),
        total: z.int(),
        next_cursor: z.string().nullable().meta({ description: 'For the page behind this one; null for the last' }),
      }),
      forms: Object.values(contentTypes),
      handle: async ({ query, header }) => {
        refuseBoth(query);
        const headers = await settled();
        const filter = filterOf(query);
        const form = formOf(query.format, header('accept'));
        if (form !== 'json') {
          const rows = audit.all(filter, query.cursor);
          const body = form === 'csv' ? csvOf(rows) : ndjsonOf(rows);
          const disposition = `attachment; filename="audit.${form}"`;
          return new OtherForm(contentTypes[form], {
            body,
            headers: { ...headers, 'content-disposition': disposition },
          });
        }
        const page = { before: query.cursor, limit: query.limit + 1, offset: query.offset };
        const [found, total] = await Promise.all([audit.list(filter, page), audit.count(filter)]);
        const rows = found.slice(0, query.limit);
        const last = rows.at(-1);
        const more = found.length > rows.length && last !== undefined;
        const events = rows.map(auditToWire);
        return answer(200, { events, count: rows.length, total, next_cursor: more ? cursorOf(last) : null }, headers);
      },
    }),
    endpoint('POST /audit/verify', {
      summary: 'Proves that the audit trail is as it was written, or names the first difference',
      description: 'Reads the whole trail, computes every hash anew and compares the anchors in the repositories.',
      reply: Verification,
      audit: { action: 'VerifyAudit', object: 'audit' },
      handle: async ({ signal }) => verificationToWire(await verify(signal)),
    }),
  ];
};
