import type { RecordedEvent } from '#domain/recorded-event.ts';
import { applyBatch, readCheckpoints } from './apply.ts';
import { readDecisions } from './decisions.ts';
import { liveGenerations } from './generation.ts';
import { ensureGenerations } from './generations.ts';
import { createBell, gatherPatient, patientTypes } from './patient.ts';
import { pause } from './pause.ts';
import type { BatchObserver, EventSource, ReadStream, SourceItem } from './ports.ts';
import { PreparedStatements } from './prepared.ts';
import type { AnyProjection, ReadModelDb } from './projection.ts';

export type ProjectionStatus = Readonly<{
  /** Everything up to here is in the tables. */
  position: bigint;
  caughtUp: boolean;
  /** Why it does not get on right now; the runner keeps trying. */
  problem: string | null;
  /** When the newest applied event was recorded; null before the first. */
  appliedEventAt: string | null;
}>;

export interface ProjectionRunner {
  status(): ProjectionStatus;
  /**
   * Resolves true once the tables hold everything up to `position`, false after `timeoutMs`: an answer from the read model
   * may then lag, and says so.
   */
  waitFor(position: bigint, timeoutMs: number): Promise<boolean>;
  /** Resolves when the end of the log was reached for the first time. */
  readonly caughtUp: Promise<void>;
  /** Ends when the signal does and the last transaction is through. */
  readonly done: Promise<void>;
}

type Deps = Readonly<{
  source: EventSource;
  readStream: ReadStream;
  db: ReadModelDb;
  projections: readonly AnyProjection[];
  onProblem: (error: unknown) => void;
  /** Called with each event once the tables hold it. */
  onApplied?: (event: RecordedEvent) => void;
  batches?: BatchObserver;
}>;

type Waiter = Readonly<{ position: bigint; resolve: (passed: boolean) => void }>;

const retryDelayMs = { first: 100, max: 5_000 };

/** A tenth of a second goes unnoticed by whoever looks at a bar, and saves the database most of a flood of reports. */
const holdMs = 100;
const maxHeldEvents = 500;

const unobserved: BatchObserver = { batch: (_, apply) => apply() };

/**
 * One ordered pipeline for all projections: what the log has is taken in batches (many events while catching up, one when
 * live, or what a moment brings of those that nobody waits for), each batch is one transaction. On an error it subscribes
 * again from the stored checkpoint; it never skips.
 */
export const runProjections = (deps: Deps, signal: AbortSignal): ProjectionRunner => {
  let status: ProjectionStatus = { position: 0n, caughtUp: false, problem: null, appliedEventAt: null };
  let waiters: Waiter[] = [];
  const generations = liveGenerations(deps.projections);
  const { batches = unobserved } = deps;
  const prepared = new PreparedStatements();
  const reached = Promise.withResolvers<void>();
  const bell = createBell();
  const patience = { types: patientTypes(deps.projections), holdMs, maxEvents: maxHeldEvents, bell };

  const advance = (item: SourceItem): void => {
    const newest = item.kind === 'events' ? item.events.at(-1) : undefined;
    status = {
      position: item.position > status.position ? item.position : status.position,
      caughtUp: status.caughtUp || item.kind === 'caught-up',
      problem: null,
      appliedEventAt: newest?.recordedAt ?? status.appliedEventAt,
    };
    const passed = waiters.filter((waiter) => waiter.position <= status.position);
    waiters = waiters.filter((waiter) => waiter.position > status.position);
    for (const waiter of passed) waiter.resolve(true);
    if (item.kind === 'caught-up') reached.resolve();
    if (item.kind === 'events') for (const event of item.events) deps.onApplied?.(event);
  };

  const follow = async (): Promise<void> => {
    await ensureGenerations(deps.db, generations);
    const checkpoints = await readCheckpoints(deps.db, generations);
    const decisions = await readDecisions(deps.readStream, deps.projections);
    const target = { db: deps.db, generations, readStream: deps.readStream, decisions, prepared };
    const from = [...checkpoints.values()].reduce((least, position) => (position < least ? position : least));
    status = { ...status, position: from };
    const items = gatherPatient(deps.source.subscribe(from, {}, signal), patience);
    for await (const item of items) {
      if (item.kind === 'events') await batches.batch(item, () => applyBatch(target, item));
      advance(item);
    }
  };

  // Nobody waits for tables that no longer get on.
  signal.addEventListener('abort', () => {
    for (const waiter of waiters.splice(0)) waiter.resolve(false);
  });

  const run = async (): Promise<void> => {
    let delayMs = retryDelayMs.first;
    while (!signal.aborted) {
      try {
        await follow();
        delayMs = retryDelayMs.first;
      } catch (error) {
        if (signal.aborted) return;
        if (status.problem === null) delayMs = retryDelayMs.first;
        status = { ...status, caughtUp: false, problem: error instanceof Error ? error.message : String(error) };
        deps.onProblem(error);
        await pause(delayMs, signal);
        delayMs = Math.min(delayMs * 2, retryDelayMs.max);
      }
    }
  };

  const waitFor = async (position: bigint, timeoutMs: number): Promise<boolean> => {
    if (position <= status.position) return true;
    if (signal.aborted) return false;
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const waiter: Waiter = { position, resolve };
    waiters.push(waiter);
    bell.ring();
    const timer = setTimeout(() => {
      waiters = waiters.filter((candidate) => candidate !== waiter);
      resolve(false);
    }, timeoutMs);
    return promise.finally(() => clearTimeout(timer));
  };

  return { status: () => status, waitFor, caughtUp: reached.promise, done: run() };
};
