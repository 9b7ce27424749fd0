import { streamOf } from '../streams.ts';

/** What an event tells of where it comes from, and nothing else of it. */
export type TracedEvent = Readonly<{
  id: string;
  stream: string;
  revision: bigint;
  position: bigint;
  type: string;
  /** When this log took it, ISO 8601 UTC: the one time that whoever appends cannot choose. */
  recordedAt: string;
  /** Null where its metadata does not say. */
  by: string | null;
  causationId: string | null;
}>;

/**
 * What has to be there for an event to be accounted for:
 *
 * | evidence         | of                                                  | is                                              |
 * |------------------|-----------------------------------------------------|-------------------------------------------------|
 * | `none`           | streams of others; bounds that the hub sets itself  |                                                 |
 * | `trail`          | the audit trail itself                              | the chain holds, and its day is one that it has |
 * | `cause`          | process managers, sweeps                            | the event that it names is before it in the log |
 * | `entry-or-cause` | what machines report of their own work              | either                                          |
 * | `entry`          | everything else: what somebody asked for            | an entry of the trail lists it                  |
 * | `impossible`     | deletions, bounds of what the hub never bounds      |                                                 |
 */
export type Evidence = 'none' | 'trail' | 'cause' | 'entry-or-cause' | 'entry' | 'impossible';

const conceptOf = (stream: string): string => stream.slice(0, Math.max(0, stream.indexOf('-')));

/** The hub has such streams; those of others in the same store are none of its business. */
const isOwn = (stream: string): boolean => Object.hasOwn(streamOf, conceptOf(stream));

const metastreamPrefix = '$$';

/** Streams whose oldest events the hub lets go (`EventStore.bound`). */
const bounded: ReadonlySet<string> = new Set(['telemetry', 'credentialUsage', 'repositoryStorage']);

const trail: ReadonlySet<string> = new Set(['audit', 'auditDays']);

/** What a job's client makes of the job by reporting, beside its telemetry. */
const reported: ReadonlySet<string> = new Set(['DiskTransferred', 'BackupStalled', 'BackupResumed', 'BackupFailed']);

const isMachineFact = ({ stream, type }: TracedEvent): boolean => {
  const concept = conceptOf(stream);
  return concept === 'telemetry' || (concept === 'backup' && reported.has(type));
};

const isOfHub = (by: string | null): boolean => by === 'system' || by?.startsWith('process:') === true;

export const evidenceFor = (event: TracedEvent): Evidence => {
  const { stream, type, by } = event;
  if (stream.startsWith(metastreamPrefix)) {
    const original = stream.slice(metastreamPrefix.length);
    return !isOwn(original) || bounded.has(conceptOf(original)) ? 'none' : 'impossible';
  }
  if (!isOwn(stream)) return 'none';
  if (type.startsWith('$')) return 'impossible';
  if (trail.has(conceptOf(stream))) return 'trail';
  if (isOfHub(by)) return 'cause';
  return isMachineFact(event) ? 'entry-or-cause' : 'entry';
};

const forRequest = (requestId: string | null): string => (requestId === null ? '' : ` for the request ${requestId}`);

/** Why an event is not accounted for, as a sentence for people. */
export const whyUnexplained = (event: TracedEvent, evidence: Evidence): string => {
  const { stream, type, by, causationId } = event;
  const who = by === null ? 'somebody who is not named' : by;
  const cause =
    causationId === null ? 'and names no cause' : `and its cause ${causationId} is not in the log before it`;
  switch (evidence) {
    case 'trail':
      return 'the audit trail never began this day';
    case 'impossible':
      return stream.startsWith(metastreamPrefix)
        ? 'the hub never sets bounds or rights of such a stream'
        : `the hub never writes ${type} into its streams`;
    case 'cause':
      return `it says that ${who} wrote it, ${cause}`;
    case 'entry-or-cause':
      return `written by ${who}, ${cause}`;
    case 'entry':
      return `written by ${who}${forRequest(causationId)}, and no entry of the audit trail lists it`;
    case 'none':
      return 'it belongs to somebody else';
  }
};
