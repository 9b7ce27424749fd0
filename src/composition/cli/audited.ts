import { randomUUID } from 'node:crypto';
import { auditedAppend } from '#commands/audit-ports.ts';
import { type Appended, type EventStore, StoreUnavailable } from '#commands/ports.ts';
import type { AuditEntry, AuditedAppend } from '#domain/audit/entry.ts';
import { DomainError } from '#domain/errors.ts';
import { createLogger } from '#infra/logger.ts';
import { createHubAudit } from '../audit.ts';

/** A command of the command line that works on the stores itself; the hub records what it is asked for over HTTP. */
export type CliCommand = Readonly<{
  /** Of its entry, where a repeat has to recognise it. */
  id?: string;
  action: string;
  objectType: string;
  objectId?: string;
  /** Never a secret. */
  facts?: Readonly<Record<string, string>>;
}>;

type Outcome = Pick<AuditEntry, 'outcome' | 'code' | 'reason'>;

const refusalOf = (error: unknown): Outcome => {
  if (error instanceof DomainError) return { outcome: 'refused', code: error.code, reason: error.message };
  return { outcome: 'failed', code: null, reason: error instanceof Error ? error.message : String(error) };
};

/** Told of what a command appends, as `CommandContext` has it. */
type OnAppended = (appended: Appended) => void;

const entryOf = (command: CliCommand, outcome: Outcome, appends: readonly AuditedAppend[]): AuditEntry => {
  const { id = randomUUID(), action, objectType, objectId = null, facts = {} } = command;
  const requestId = randomUUID();
  return {
    ...{ id, at: new Date().toISOString(), actor: 'operator:local', source: 'cli', action },
    ...{ objectType, objectId, dryRun: false, status: 0, address: '', requestId, correlationId: requestId },
    ...{ facts, appends, moreAppends: 0, ...outcome },
  };
};

const openTrail = (store: EventStore) =>
  createHubAudit({ store, storageNode: 'command line', log: createLogger({ level: 'error', name: 'audit' }) });

/** Leaves the entry of a command that has been carried out. Throws when the event store did not take it. */
export const recordDone = async (store: EventStore, command: CliCommand): Promise<void> => {
  const { trail, status, close } = openTrail(store);
  await trail.record(entryOf(command, { outcome: 'accepted', code: null, reason: null }, []));
  await close();
  const { waiting, problem } = status();
  if (waiting > 0) throw new StoreUnavailable(`the audit trail has not taken the entry: ${problem}`);
};

/** Does the work and leaves its entry in the audit trail of that event store, whatever came of it. */
export const audited = async <T>(
  store: EventStore,
  command: CliCommand,
  work: (onAppended: OnAppended) => Promise<T>,
): Promise<T> => {
  const appends: AuditedAppend[] = [];
  const { trail, close } = openTrail(store);
  const record = (outcome: Outcome): Promise<void> => trail.record(entryOf(command, outcome, appends));
  try {
    const done = await work((appended) => appends.push(auditedAppend(appended)));
    await record({ outcome: 'accepted', code: null, reason: null });
    return done;
  } catch (error) {
    await record(refusalOf(error));
    throw error;
  } finally {
    await close();
  }
};
