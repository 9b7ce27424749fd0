/** What one append of a command wrote; revision and position are those of its last event. */
export type AuditedAppend = Readonly<{
  stream: string;
  types: readonly string[];
  ids: readonly string[];
  revision: string;
  position: string;
}>;

/** `refused`: the request was at fault; `failed`: the hub, or something that it needs, was. */
export type AuditOutcome = 'accepted' | 'refused' | 'failed';

/** One command, whatever came of it. Named facts only: never a body, a header or a password. */
export type AuditEntry = Readonly<{
  /** A UUID: the same entry that is written twice is recognised. */
  id: string;
  at: string;
  /** `user:admin`, `operator:local`, …; `anonymous` when nobody proved to be anybody. */
  actor: string;
  /** Where it came in. */
  source: 'http' | 'cli';
  /** A stable name in the imperative: `StartBackup`. */
  action: string;
  objectType: string;
  /** Null when the request does not tell, as for something that was not made. */
  objectId: string | null;
  outcome: AuditOutcome;
  dryRun: boolean;
  /** Of the HTTP reply; 0 for a command that had none. */
  status: number;
  /** Code and sentence of a refusal. */
  code: string | null;
  reason: string | null;
  address: string;
  requestId: string;
  correlationId: string;
  facts: Readonly<Record<string, string>>;
  appends: readonly AuditedAppend[];
  /** Appends beyond those that are listed. */
  moreAppends: number;
}>;

const longest = 500;
const mostAppends = 50;
const mostFacts = 20;

/** As a store keeps it for ever: no control characters, which some replace, and no half of a surrogate pair. */
const plain = (text: string): string =>
  text
    .slice(0, longest)
    .toWellFormed()
    .replace(/\p{Cc}+/gu, ' ');

const plainOrNull = (text: string | null): string | null => (text === null ? null : plain(text));

/** An entry that is safe to hash and to keep: every text is short and printable, so that it reads back as it was hashed. */
export const tidyEntry = (entry: AuditEntry): AuditEntry => ({
  ...entry,
  ...{ actor: plain(entry.actor), action: plain(entry.action), address: plain(entry.address) },
  ...{ objectType: plain(entry.objectType), objectId: plainOrNull(entry.objectId) },
  ...{ code: plainOrNull(entry.code), reason: plainOrNull(entry.reason) },
  ...{ requestId: plain(entry.requestId), correlationId: plain(entry.correlationId) },
  facts: Object.fromEntries(
    Object.entries(entry.facts)
      .slice(0, mostFacts)
      .map(([name, value]) => [plain(name), plain(value)]),
  ),
  appends: entry.appends.slice(0, mostAppends),
  moreAppends: entry.moreAppends + Math.max(0, entry.appends.length - mostAppends),
});
