import type { Digest, SealedEntry } from '#domain/audit/chain.ts';
import type { AuditDayBegun, AuditEvent } from '#domain/audit/events.ts';
import { UnreadableEvent } from '#domain/event-versions.ts';
import type { RecordedEvent } from '#domain/recorded-event.ts';
import { streamOf } from '#domain/streams.ts';
import type { AnchorFile, AuditAnchor } from './audit-ports.ts';
import { type AuditDifference, createAuditWalk, DifferenceFound } from './audit-walk.ts';
import type { EventStore } from './ports.ts';

export type AuditVerification = Readonly<{
  /** Log and anchors agree. Anchors that could not be read do not count: `unreachable` names them. */
  ok: boolean;
  days: number;
  batches: number;
  entries: number;
  head: Readonly<{ stream: string; revision: string; position: string; hash: string }> | null;
  anchors: Readonly<{
    files: number;
    checked: number;
    unreachable: readonly Readonly<{ place: string; reason: string }>[];
  }>;
  difference: AuditDifference | null;
}>;

/** Where anchors are: each is read by itself, one that cannot be is told. */
export type AnchorSource = Readonly<{ place: string; read: () => Promise<AnchorFile> }>;

/** For who wants to know what the trail holds: told of each piece once it is proved, up to the first difference. */
export type TrailWatch = Readonly<{
  onDay: (stream: string) => void;
  onEntry: (entry: SealedEntry) => void;
}>;

type Deps = Readonly<{
  store: Pick<EventStore, 'readForwards'>;
  digest: Digest;
  /** Whether the store says that what it holds is damaged, in place of being away. */
  isDamage?: (error: unknown) => boolean;
}>;
type Placed = Readonly<{ place: string; anchor: AuditAnchor }>;

const readAnchors = async (sources: readonly AnchorSource[]) => {
  const read = await Promise.allSettled(sources.map((source) => source.read()));
  const files = read.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const unreachable = read.flatMap((result, index) =>
    result.status === 'rejected'
      ? [{ place: sources[index]?.place ?? '', reason: (result.reason as Error).message }]
      : [],
  );
  const byCount = Map.groupBy(
    files.flatMap(({ place, anchors }) => anchors.map((anchor): Placed => ({ place, anchor }))),
    ({ anchor }) => anchor.count,
  );
  return { files, unreachable, byCount };
};

const disagreement = (
  { place, anchor }: Placed,
  kind: 'anchor-disagrees' | 'truncated',
  detail: string,
): DifferenceFound => {
  const { stream, revision, position, count } = anchor;
  const entry = { n: count, id: null };
  const where = `written to ${place} on ${anchor.at}`;
  return new DifferenceFound({ kind, stream, revision, position, entry, detail: `${detail}; the anchor was ${where}` });
};

/** The log alone cannot tell that its end was cut off, or that all of it was rewritten; what was written elsewhere can. */
const checkAnchor = (placed: Placed, entry: SealedEntry): void => {
  if (placed.anchor.hash === entry.hash) return;
  const detail = `entry ${entry.n} or one before it was rewritten, with all hashes: its anchor tells another one`;
  throw disagreement(placed, 'anchor-disagrees', detail);
};

const checkEnd = (byCount: ReadonlyMap<number, readonly Placed[]>, count: number): void => {
  const [beyond] = [...byCount.keys()].filter((anchored) => anchored > count).toSorted((a, b) => a - b);
  const [placed] = beyond === undefined ? [] : (byCount.get(beyond) ?? []);
  if (!placed) return;
  const gone = beyond === undefined ? count : beyond;
  throw disagreement(placed, 'truncated', `the log ends with entry ${count}, but there were ${gone}`);
};

const checkFiles = (files: readonly AnchorFile[]): void => {
  for (const { place, unreadableLines } of files) {
    if (unreadableLines.length === 0) continue;
    const detail = `line ${unreadableLines[0]} of ${place} is no anchor`;
    const nowhere = { stream: '', revision: null, position: null, entry: null };
    throw new DifferenceFound({ kind: 'anchor-disagrees', ...nowhere, detail });
  }
};

/** What is stored cannot be taken for an event of the trail at all. */
const unreadable = (error: unknown, stream: string, isDamage: Deps['isDamage']): DifferenceFound => {
  if (error instanceof DifferenceFound) return error;
  const isGarbage = error instanceof UnreadableEvent || error instanceof TypeError || error instanceof SyntaxError;
  if (!(error instanceof Error) || !(isGarbage || isDamage?.(error))) throw error;
  const detail = `${stream} cannot be taken for what the trail wrote: ${error.message}`;
  return new DifferenceFound({ kind: 'unreadable', stream, revision: null, position: null, entry: null, detail });
};

/**
 * Walks the whole trail, page by page, computes every hash anew and compares it with the log and with the anchors. Throws
 * only when the log cannot be read.
 */
export const createVerifyAudit =
  ({ store, digest, isDamage }: Deps) =>
  async (sources: readonly AnchorSource[], signal: AbortSignal, watch?: TrailWatch): Promise<AuditVerification> => {
    const { files, unreachable, byCount } = await readAnchors(sources);
    let checked = 0;
    let days = 0;
    let reading = streamOf.auditDays();
    const walk = createAuditWalk(digest, (entry) => {
      for (const placed of byCount.get(entry.n) ?? []) {
        checkAnchor(placed, entry);
        checked += 1;
      }
      watch?.onEntry(entry);
    });

    const walkAll = async (): Promise<void> => {
      const begun: RecordedEvent<AuditDayBegun>[] = [];
      for await (const day of store.readForwards<AuditDayBegun>(reading, 0n, signal)) begun.push(day);
      watch?.onDay(reading);
      for (const day of begun) {
        reading = streamOf.audit(day.event.data.day);
        walk.beginDay(day, reading);
        days += 1;
        watch?.onDay(reading);
        for await (const recorded of store.readForwards<AuditEvent>(reading, 0n, signal)) walk.take(recorded);
      }
      checkEnd(byCount, walk.state().head.count);
      checkFiles(files);
    };

    const difference = await walkAll().then(
      () => null,
      (error: unknown) => unreadable(error, reading, isDamage).difference,
    );
    const { head, batches, last } = walk.state();
    return {
      ...{ ok: difference === null, days, batches, entries: head.count, difference },
      head: last
        ? { stream: last.stream, revision: `${last.revision}`, position: `${last.position}`, hash: head.hash }
        : null,
      anchors: { files: files.filter(({ anchors }) => anchors.length > 0).length, checked, unreachable },
    };
  };

export type VerifyAudit = ReturnType<typeof createVerifyAudit>;
