import { randomUUID } from 'node:crypto';
import type { EventStore } from '#commands/ports.ts';
import type { AuditEntry } from '#domain/audit/entry.ts';
import { DomainError } from '#domain/errors.ts';
import { createLogger } from '#infra/logger.ts';
import { createHubAudit } from '../audit.ts';

/** A command of the command line that works on the stores itself; the hub records what it is asked for over HTTP. */
export type CliCommand = Readonly<{
  action: string;
  objectType: string;
  objectId?: string;
  /** Never a secret. */
  facts?: Readonly<Record<string, string>>;
}>;

const refusalOf = (error: unknown): Pick<AuditEntry, 'outcome' | 'code' | 'reason'> => {
  if (error instanceof DomainError) return { outcome: 'refused', code: error.code, reason: error.message };
  return { outcome: 'failed', code: null, reason: error instanceof Error ? error.message : String(error) };
};

/** Does the work and leaves its entry in the audit trail of that event store, whatever came of it. */
export const audited = async <T>(store: EventStore, command: CliCommand, work: () => Promise<T>): Promise<T> => {
  const log = createLogger({ level: 'error', name: 'audit' });
  const { trail, close } = createHubAudit({ store, storageNode: 'command line', log });
  const { action, objectType, objectId = null, facts = {} } = command;
  const record = (outcome: Pick<AuditEntry, 'outcome' | 'code' | 'reason'>): Promise<void> => {
    const requestId = randomUUID();
    return trail.record({
      ...{ id: randomUUID(), at: new Date().toISOString(), actor: 'operator:local', source: 'cli', action },
      ...{ objectType, objectId, dryRun: false, status: 0, address: '', requestId, correlationId: requestId },
      ...{ facts, appends: [], moreAppends: 0, ...outcome },
    });
  };
  try {
    const done = await work();
    await record({ outcome: 'accepted', code: null, reason: null });
    return done;
  } catch (error) {
    await record(refusalOf(error));
    throw error;
  } finally {
    await close();
  }
};
