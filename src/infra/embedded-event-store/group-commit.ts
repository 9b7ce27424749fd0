import type { DatabaseSync } from 'node:sqlite';
import { StoreDamaged } from './damage.ts';
import { isDiskFull } from './sqlite-errors.ts';

/** The disk (or the configured size) is used up. Nothing of the refused request was stored; reading goes on. */
export class StorageFull extends Error {
  override readonly name = 'StorageFull';
  constructor(cause: unknown) {
    super('The event store has no space left on its disk: nothing was written.', { cause });
  }
}

/** Ends before its answer is known to have been stored: the caller may repeat it. */
export class StorageClosed extends Error {
  override readonly name = 'StorageClosed';
  constructor() {
    super('The event store is stopping.');
  }
}

type Job = Readonly<{
  sizeBytes: number;
  /** Runs inside the transaction; returns what to do once that is on disk. */
  run: () => () => void;
  refuse: (reason: Error) => void;
}>;

type Hooks = Readonly<{
  /** The last thing inside each transaction. */
  committing: () => void;
  committed: () => void;
  rolledBack: () => void;
  /** The same error, or `StoreDamaged` in place of one of SQLite's. */
  translated: (error: unknown) => unknown;
  failed: (error: unknown) => void;
}>;

// One transaction blocks the thread, pings included: these keep it well below a second.
const maxBytesPerCommit = 16 * 1024 * 1024;
const maxJobsPerCommit = 2000;

/**
 * What the sync may cost each job that shares it. Groups no larger than that: with everything in one group all writers would
 * wait for the store and then the store for all of them, so that one processor idles while the other one works.
 */
const syncMsEach = 0.02;
const minJobsPerCommit = 16;
/** Weight of the newest commit in the running mean of their times. */
const newestWeight = 0.1;

/**
 * Group commit: what arrives while a transaction is being synced shares the next one. Answers are given after the
 * commit, also those that wrote nothing, for they may rest on what the same transaction wrote.
 *
 * When a commit fails, what is on disk is unknown and this process must not guess: `failed` has to end it. A full disk is
 * an exception, SQLite rolls that back; so is damage met before anything was written over it.
 */
export class GroupCommit {
  readonly #database: DatabaseSync;
  readonly #hooks: Hooks;
  #queue: Job[] = [];
  #scheduled = false;
  #closed = false;
  #commitMs = 0;

  constructor(database: DatabaseSync, hooks: Hooks) {
    this.#database = database;
    this.#hooks = hooks;
  }

  run<T>(sizeBytes: number, work: () => T): Promise<T> {
    if (this.#closed) return Promise.reject(new StorageClosed());
    return new Promise<T>((resolve, refuse) => {
      const run = () => {
        const outcome = work();
        return () => resolve(outcome);
      };
      this.#queue.push({ sizeBytes, run, refuse });
      this.#schedule();
    });
  }

  /** Refuses what is still queued. */
  close(): void {
    this.#closed = true;
    const waiting = this.#queue;
    this.#queue = [];
    for (const job of waiting) job.refuse(new StorageClosed());
  }

  /** After the events of this turn of the loop, so that everything the sockets hold by now shares the commit. */
  #schedule(): void {
    if (this.#scheduled || this.#queue.length === 0) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      if (this.#closed) return;
      this.#commit(this.#take());
      this.#schedule();
    });
  }

  #take(): readonly Job[] {
    let sizeBytes = 0;
    const worthIt = Math.max(minJobsPerCommit, Math.ceil(this.#commitMs / syncMsEach));
    const most = Math.min(maxJobsPerCommit, worthIt);
    const end = this.#queue.findIndex((job, index) => {
      sizeBytes += job.sizeBytes;
      return index > 0 && (sizeBytes > maxBytesPerCommit || index >= most);
    });
    return this.#queue.splice(0, end === -1 ? this.#queue.length : end);
  }

  #commit(jobs: readonly Job[]): void {
    const answers = this.#transact(jobs);
    if (!answers) return;
    this.#hooks.committed();
    for (const answer of answers) answer();
  }

  #transact(jobs: readonly Job[]): readonly (() => void)[] | undefined {
    try {
      this.#database.exec('begin immediate');
      const answers = jobs.map((job) => job.run());
      this.#hooks.committing();
      this.#sync();
      return answers;
    } catch (error) {
      this.#fail(jobs, error);
      return undefined;
    }
  }

  #sync(): void {
    const startedAtMs = performance.now();
    this.#database.exec('commit');
    this.#commitMs += newestWeight * (performance.now() - startedAtMs - this.#commitMs);
  }

  #fail(jobs: readonly Job[], error: unknown): void {
    const refusal = isDiskFull(error) ? new StorageFull(error) : this.#hooks.translated(error);
    const undone = refusal instanceof StoreDamaged && this.#database.isTransaction;
    if (!undone && !(refusal instanceof StorageFull)) {
      this.#closed = true;
      this.#hooks.failed(error);
      return;
    }
    if (this.#database.isTransaction) this.#database.exec('rollback');
    this.#hooks.rolledBack();
    const [only, ...others] = jobs;
    if (only && others.length === 0) only.refuse(refusal);
    else for (const job of jobs) this.#commit([job]); // one large append must not take the small ones down with it
  }
}
