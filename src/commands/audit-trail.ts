import type { AuditEntry } from '#domain/audit/entry.ts';
import type { AuditLog } from './audit-log.ts';
import type { AuditTrail } from './audit-ports.ts';

type Deps = Readonly<{
  log: Pick<AuditLog, 'append' | 'holds'>;
  /** Told once for each time that the trail stops getting on, and with entries that were given up. */
  onProblem: (problem: Readonly<{ what: string; error?: unknown; entries: readonly AuditEntry[] }>) => void;
  /** How long whoever records an entry waits for the disk. */
  patienceMs?: number;
  retryMs?: number;
  maxWaiting?: number;
}>;

export type AuditStatus = Readonly<{
  /** Entries that are not on disk yet. */
  waiting: number;
  /** Why they are not, when it takes longer than it should. */
  problem: string | null;
}>;

export type RunningAuditTrail = AuditTrail &
  Readonly<{
    status: () => AuditStatus;
    /** Writes what waits, once more at the least, and takes nothing more. */
    close: () => Promise<void>;
  }>;

/** Keeps a batch well below the 1 MiB that an append may have. */
const maxBatch = 100;
const closePatienceMs = 5_000;

type Waiting = Readonly<{ entry: AuditEntry; written: () => void }>;

const pause = (durationMs: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, durationMs));

/** Resolves with the promise or after the time, whichever comes first. */
const within = async (promise: Promise<void>, durationMs: number): Promise<boolean> => {
  const late = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => late.resolve(false), durationMs);
  return Promise.race([promise.then(() => true), late.promise]).finally(() => clearTimeout(timer));
};

/**
 * One append at a time: what comes while a batch is being written makes up the next one, so a burst costs a few appends and
 * a single entry none but its own. While the store is away entries wait in memory and are written when it is back.
 *
 * An entry follows its command's events, it does not go before them. A hub that dies in between leaves events without an
 * entry, never an entry for what did not happen; the events themselves tell who and, as their cause, the request.
 */
export const createAuditTrail = (deps: Deps): RunningAuditTrail => {
  const { log, onProblem, patienceMs = 2_000, retryMs = 1_000, maxWaiting = 10_000 } = deps;
  const queue: Waiting[] = [];
  let problem: string | null = null;
  let unknown = false;
  let writing: Promise<void> | undefined;
  let closing = false;

  const writeNext = async (): Promise<void> => {
    const batch = queue.slice(0, maxBatch);
    const entries = batch.map(({ entry }) => entry);
    // After an answer that never came, the batch may be there already.
    const there = unknown ? await Promise.all(entries.map(({ id }) => log.holds(id))) : [];
    const missing = entries.filter((_, index) => !there[index]);
    unknown = true;
    if (missing.length > 0) await log.append(missing);
    unknown = false;
    problem = null;
    queue.splice(0, batch.length);
    for (const { written } of batch) written();
  };

  const writeAll = async (): Promise<void> => {
    while (queue.length > 0) {
      try {
        await writeNext();
      } catch (error) {
        if (problem === null) onProblem({ what: 'the audit trail is not being written', error, entries: [] });
        problem = error instanceof Error ? error.message : String(error);
        if (closing) return;
        await pause(retryMs);
      }
    }
  };

  const start = (): void => {
    writing ??= writeAll().finally(() => {
      writing = undefined;
      if (queue.length > 0 && !closing) start();
    });
  };

  return {
    record: async (entry) => {
      if (closing || queue.length >= maxWaiting) {
        onProblem({ what: 'an entry of the audit trail is given up', entries: [entry] });
        return;
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      queue.push({ entry, written: resolve });
      start();
      if (await within(promise, problem === null ? patienceMs : 0)) return;
      if (problem !== null) return;
      problem = 'the event store is slow to take it';
      onProblem({ what: 'the audit trail is behind', entries: [entry] });
    },
    status: () => ({ waiting: queue.length, problem }),
    close: async () => {
      closing = true;
      if (queue.length > 0 && !writing) start();
      await within(writing ?? Promise.resolve(), closePatienceMs);
      const entries = queue.map(({ entry }) => entry);
      if (entries.length > 0) onProblem({ what: 'entries of the audit trail are given up', entries });
    },
  };
};
