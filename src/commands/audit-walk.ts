import { type ChainHead, type Digest, emptyChain, hashAfter, type SealedEntry } from '#domain/audit/chain.ts';
import type { AuditDayBegun, AuditEvent } from '#domain/audit/events.ts';
import type { RecordedEvent } from '#domain/recorded-event.ts';

export type AuditDifference = Readonly<{
  kind: 'changed' | 'removed' | 'inserted' | 'truncated' | 'anchor-disagrees' | 'unreadable';
  stream: string;
  revision: string | null;
  position: string | null;
  /** The first entry that is not as it was written. */
  entry: Readonly<{ n: number; id: string | null }> | null;
  /** A sentence for people. */
  detail: string;
}>;

/** Ends the walk: the first difference is the answer, everything behind it follows from it. */
export class DifferenceFound extends Error {
  readonly difference: AuditDifference;
  constructor(difference: AuditDifference) {
    super(difference.detail);
    this.name = 'DifferenceFound';
    this.difference = difference;
  }
}

type Recorded = RecordedEvent<AuditEvent | AuditDayBegun>;

const found = (
  kind: AuditDifference['kind'],
  at: Recorded | string,
  entry: AuditDifference['entry'],
  detail: string,
): never => {
  const place =
    typeof at === 'string'
      ? { stream: at, revision: null, position: null }
      : { stream: at.stream, revision: `${at.revision}`, position: `${at.position}` };
  throw new DifferenceFound({ kind, ...place, entry, detail });
};

const range = (first: number, last: number): string =>
  first === last ? `entry ${first} is missing` : `entries ${first} to ${last} are missing`;

/** Follows the chain entry by entry and compares every hash with what it must be. */
export const createAuditWalk = (digest: Digest, onEntry: (entry: SealedEntry, at: RecordedEvent) => void) => {
  let head: ChainHead = emptyChain;
  let batches = 0;
  let last: Recorded | undefined;
  let day = { stream: '', nextRevision: 0n, closed: true };

  const expectNext = (recorded: Recorded): void => {
    if (recorded.revision !== day.nextRevision) {
      found('removed', recorded, null, `revision ${day.nextRevision} of ${recorded.stream} is missing`);
    }
    day = { ...day, nextRevision: recorded.revision + 1n };
  };

  const checkEntry = (entry: SealedEntry, previousHash: string, recorded: Recorded): void => {
    const { hash, ...unsealed } = entry;
    const { n, id } = entry;
    const expected = head.count + 1;
    if (n > expected) found('removed', recorded, { n: expected, id: null }, range(expected, n - 1));
    if (n < expected) found('inserted', recorded, { n, id }, `entry ${n} comes after entry ${head.count}`);
    if (hashAfter(head.hash, unsealed, digest) !== hash) {
      // Intact in itself, but built on another past: somebody rewrote what lies before it, hashes included.
      const intact = head.hash !== previousHash && hashAfter(previousHash, unsealed, digest) === hash;
      if (intact) {
        const detail = `entry ${head.count} or one before it was rewritten: entry ${n} was built on another hash`;
        found('changed', last ?? recorded, { n: head.count, id: null }, detail);
      }
      found('changed', recorded, { n, id }, `entry ${n} is not what its hash was made of`);
    }
    head = { hash, count: n };
    onEntry(entry, recorded);
  };

  return {
    beginDay: (begun: RecordedEvent<AuditDayBegun>, stream: string): void => {
      const { previousHash, previousCount } = begun.event.data;
      if (!day.closed) found('removed', day.stream, null, `the end of ${day.stream} is missing`);
      if (previousCount > head.count) {
        found('removed', stream, { n: head.count + 1, id: null }, range(head.count + 1, previousCount));
      }
      if (previousHash !== head.hash || previousCount !== head.count) {
        found('changed', begun, { n: head.count, id: null }, `${stream} began on another hash than its day before has`);
      }
      day = { stream, nextRevision: 0n, closed: false };
    },

    take: (recorded: RecordedEvent<AuditEvent>): void => {
      expectNext(recorded);
      const { event } = recorded;
      if (day.closed) found('inserted', recorded, null, `${day.stream} goes on after its end`);
      if (event.type === 'AuditDayClosed') {
        const same = event.data.hash === head.hash && event.data.count === head.count;
        if (!same)
          found('changed', recorded, null, `the end of ${day.stream} tells another hash than its entries have`);
        day = { ...day, closed: true };
        return;
      }
      const { entries, previousHash, hash } = event.data;
      let before = previousHash;
      for (const entry of entries) {
        checkEntry(entry, before, recorded);
        before = entry.hash;
      }
      if (hash !== head.hash || entries.length === 0) {
        found('changed', recorded, { n: head.count, id: null }, 'the batch tells another hash than its last entry has');
      }
      batches += 1;
      last = recorded;
    },

    state: () => ({ head, batches, stream: day.stream, last }),
  };
};
