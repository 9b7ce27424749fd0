import type { Versions } from '../event-versions.ts';
import type { SealedEntry } from './chain.ts';

/**
 * The commands of one day (UTC), gathered as they came. What is hashed is what is stored: these shapes are never upcast, a
 * new shape is a new event type.
 */
export type AuditEvent =
  | Readonly<{
      type: 'AuditBatchRecorded';
      /** `previousHash`: of the batch before, also across days; `hash`: of the last entry. */
      data: Readonly<{ day: string; entries: readonly SealedEntry[]; previousHash: string; hash: string }>;
    }>
  /** The end of the day's stream: a hub whose clock is late writes into the next one. */
  | Readonly<{
      type: 'AuditDayClosed';
      data: Readonly<{ day: string; nextDay: string; hash: string; count: number; at: string }>;
    }>;

/** The days that have a stream, in order: where a reader of the trail begins, and where a writer goes on. */
export type AuditDayBegun = Readonly<{
  type: 'AuditDayBegun';
  data: Readonly<{ day: string; previousDay: string | null; previousHash: string; previousCount: number; at: string }>;
}>;

export const auditEventVersions: Versions<AuditEvent> = { AuditBatchRecorded: 1, AuditDayClosed: 1 };

export const auditDaysEventVersions: Versions<AuditDayBegun> = { AuditDayBegun: 1 };
