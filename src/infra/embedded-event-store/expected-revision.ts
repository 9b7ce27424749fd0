/** `revision` -1 is "no stream". */
export type ExpectedRevision =
  | Readonly<{ kind: 'any' }>
  | Readonly<{ kind: 'stream-exists' }>
  | Readonly<{ kind: 'exact'; revision: number }>;

export const noStream: ExpectedRevision = { kind: 'exact', revision: -1 };

export type Verdict =
  | Readonly<{ kind: 'write' }>
  | Readonly<{ kind: 'repeated'; lastRevision: number }>
  | Readonly<{ kind: 'wrong-revision' }>
  | Readonly<{ kind: 'deleted' }>;

/** What the check asks of the store, about one stream. */
export type StreamFacts = Readonly<{
  lastRevision: number;
  tombstoned: boolean;
  softDeleted: boolean;
  hasMetadata: boolean;
  /** Revision of an event of this stream among the recently written; undefined if it is not there. */
  recentRevisionOf: (eventId: string) => number | undefined;
  storedIdAt: (revision: number) => string | undefined;
}>;

const write: Verdict = { kind: 'write' };
const wrongRevision: Verdict = { kind: 'wrong-revision' };
const deleted: Verdict = { kind: 'deleted' };

/** Without a revision to compare with, a repeat shows only by its ids, as far as the store remembers them. */
const checkByRecentIds = (eventIds: readonly string[], facts: StreamFacts): Verdict => {
  const [first] = eventIds;
  if (first === undefined || facts.recentRevisionOf(first) === undefined) return write;
  const revisions = eventIds.map(facts.recentRevisionOf);
  const lastRevision = revisions.at(-1);
  return lastRevision === undefined || revisions.includes(undefined)
    ? wrongRevision
    : { kind: 'repeated', lastRevision };
};

/** The stream is longer than expected: a repeat if exactly these events follow the expected revision. */
const checkByStoredIds = (expected: number, eventIds: readonly string[], facts: StreamFacts): Verdict => {
  const equal = (id: string, index: number) => facts.storedIdAt(expected + 1 + index) === id;
  const [first] = eventIds;
  if (first === undefined) return wrongRevision;
  if (!equal(first, 0)) return expected === -1 && facts.softDeleted ? write : wrongRevision;
  return eventIds.every(equal) ? { kind: 'repeated', lastRevision: expected + eventIds.length } : wrongRevision;
};

/** Decides an append before anything is written. A repeated append succeeds again without writing. */
export const checkExpectedRevision = (
  expected: ExpectedRevision,
  eventIds: readonly string[],
  facts: StreamFacts,
): Verdict => {
  if (facts.tombstoned) return deleted;
  switch (expected.kind) {
    case 'stream-exists':
      if (facts.softDeleted) return deleted;
      if (facts.lastRevision < 0 && !facts.hasMetadata) return wrongRevision;
      return checkByRecentIds(eventIds, facts);
    case 'any':
      return checkByRecentIds(eventIds, facts);
    case 'exact':
      if (expected.revision > facts.lastRevision) return wrongRevision;
      return expected.revision === facts.lastRevision ? write : checkByStoredIds(expected.revision, eventIds, facts);
  }
};
