import type { AuditEntry } from '#domain/audit/entry.ts';
import { type Evidence, evidenceFor, type TracedEvent, whyUnexplained } from '#domain/audit/evidence.ts';
import { streamOf } from '#domain/streams.ts';
import type { AuditVerification, TrailWatch } from './verify-audit.ts';

export type Suspect = Readonly<{ event: TracedEvent; evidence: Evidence }>;

/** What a walk has to remember, of a log of any size: so it is kept on disk. */
export interface OriginLedger {
  /** An event that others may follow from. */
  note(eventId: string): void;
  has(eventId: string): boolean;
  /** An event that something which comes later in the log has to account for. */
  suspect(suspect: Suspect): void;
  /** No suspect any more: that very event, in that very place. */
  clear(event: Pick<TracedEvent, 'stream' | 'revision' | 'id'>): void;
  clearStream(stream: string): void;
  /** All that one actor wrote for one request. */
  clearRequest(requestId: string, actor: string): void;
  /** Those that are left, as the log has them. */
  suspects(): Iterable<Suspect>;
}

export type Unexplained = TracedEvent & Readonly<{ why: string }>;

export type UnexplainedEvents = Readonly<{
  /** Events of the hub's own streams that were judged. */
  judged: number;
  unexplained: number;
  /** The first of them. */
  findings: readonly Unexplained[];
  /** So young that their entry may still be under way. */
  pending: number;
  /** Of the audit trail, which has to hold before anything can be concluded from it. */
  trail: AuditVerification;
}>;

type Deps = Readonly<{
  ledger: OriginLedger;
  /** The whole log as it is when it is asked for, in order. */
  log: () => AsyncIterable<TracedEvent>;
  /** Proves the trail from its first entry on, and tells what it holds. */
  verifyTrail: (watch: TrailWatch) => Promise<AuditVerification>;
}>;

export type WalkOptions = Readonly<{
  /** Events before this position are believed. */
  from: bigint;
  /** A request that is being served has no entry yet: younger events of such wait for it. Undefined where no hub works. */
  pendingSince: string | undefined;
  onProgress: (events: number) => void;
}>;

const mostFindings = 1_000;
const progressEvery = 500;

/** What neither causes anything nor is looked up by its id: most of a log. */
const causesNothing = (evidence: Evidence, { stream }: TracedEvent): boolean =>
  evidence === 'none' || evidence === 'trail' || stream.startsWith(streamOf.telemetry(''));

const judge = (ledger: OriginLedger, event: TracedEvent, evidence: Evidence): void => {
  if (evidence === 'trail') {
    // Its chain is proved as a whole; a stream of another day than those is not part of it.
    if (event.revision === 0n) ledger.suspect({ event, evidence });
    return;
  }
  const follows = event.causationId !== null && ledger.has(event.causationId);
  if (follows && (evidence === 'cause' || evidence === 'entry-or-cause')) return;
  ledger.suspect({ event, evidence });
};

const walk = async ({ ledger, log }: Deps, { from, onProgress }: WalkOptions): Promise<number> => {
  let seen = 0;
  let judged = 0;
  for await (const event of log()) {
    seen += 1;
    if (seen % progressEvery === 0) onProgress(seen);
    const evidence = evidenceFor(event);
    if (evidence !== 'none' && event.position >= from) {
      judged += 1;
      judge(ledger, event, evidence);
    }
    if (!causesNothing(evidence, event)) ledger.note(event.id);
  }
  return judged;
};

/** An entry accounts for what it lists, in the place where it says that it is: an id alone could be used once more. */
const credit = (ledger: OriginLedger, { appends, moreAppends, dryRun, requestId, actor }: AuditEntry): void => {
  if (dryRun) return;
  for (const { stream, ids, revision } of appends) {
    const first = BigInt(revision) - BigInt(ids.length) + 1n;
    for (const [index, id] of ids.entries()) ledger.clear({ stream, revision: first + BigInt(index), id });
  }
  if (moreAppends > 0) ledger.clearRequest(requestId, actor);
};

const awaitsEntry: ReadonlySet<Evidence> = new Set(['entry', 'entry-or-cause']);

const isPending = ({ event, evidence }: Suspect, since: string | undefined): boolean =>
  since !== undefined && awaitsEntry.has(evidence) && event.causationId !== null && event.recordedAt >= since;

/**
 * Finds events of the hub's own streams that nothing the hub knows accounts for. The log is walked first and the trail
 * after it, since an entry follows the events that it lists.
 */
export const findUnexplainedEvents = async (deps: Deps, options: WalkOptions): Promise<UnexplainedEvents> => {
  const { ledger } = deps;
  const judged = await walk(deps, options);
  const trail = await deps.verifyTrail({
    onDay: (stream) => ledger.clearStream(stream),
    onEntry: (entry) => credit(ledger, entry),
  });
  const findings: Unexplained[] = [];
  let unexplained = 0;
  let pending = 0;
  for (const suspect of trail.ok ? ledger.suspects() : []) {
    if (isPending(suspect, options.pendingSince)) {
      pending += 1;
      continue;
    }
    unexplained += 1;
    const { event, evidence } = suspect;
    if (findings.length < mostFindings) findings.push({ ...event, why: whyUnexplained(event, evidence) });
  }
  return { judged, unexplained, findings, pending, trail };
};
