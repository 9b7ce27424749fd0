import { createHash, randomUUID } from 'node:crypto';
import type { AuditEntry } from '#domain/audit/entry.ts';

export const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');

/** A command that was accepted, unless told otherwise. */
export const auditEntry = (over: Partial<AuditEntry> = {}): AuditEntry => ({
  ...{ id: randomUUID(), at: '2026-11-22T02:16:05.000Z', actor: 'user:admin', source: 'http', action: 'DeleteBackup' },
  ...{ objectType: 'backup', objectId: 'backup-pgtest1-1760099954', outcome: 'accepted', dryRun: false, status: 200 },
  ...{ code: null, reason: null, address: '127.0.0.1', requestId: 'req-1', correlationId: 'req-1' },
  ...{ facts: {}, appends: [], moreAppends: 0 },
  ...over,
});

/** An entry that can be told from others. */
export const numbered = (n: number, over: Partial<AuditEntry> = {}): AuditEntry =>
  auditEntry({ requestId: `req-${n}`, ...over });
