import type { EventFeed, EventStore } from '#commands/ports.ts';
import type { RecordedEvent } from '#domain/recorded-event.ts';
import { prefixOf, streamOf } from '#domain/streams.ts';
import type { HistoryIndexQueries, HistoryJob } from '#projections/history-index.ts';
import { merged } from '#projections/replay.ts';

/** What a question is about decides what has to be read: one job, a few VMs' jobs, all VMs, or everything. */
export type Scope =
  | Readonly<{ of: 'backup'; backupId: string }>
  | Readonly<{ of: 'vms'; contextIds: readonly string[] }>
  | Readonly<{ of: 'inventory' }>
  | Readonly<{ of: 'everything' }>;

/** Up to where events count. Reports of progress are in no index, so a time bounds them by theirs. */
export type Bound = Readonly<{ position: bigint; reportsUntil: string | null }>;

type Deps = Readonly<{
  store: Pick<EventStore, 'readForwards'>;
  feed: Pick<EventFeed, 'subscribe'>;
  history: HistoryIndexQueries;
}>;

/** `disksFrom`: the number that the next backup's first disk has; the tables count on from there. */
export type PastEvent = Readonly<{ recorded: RecordedEvent; disksFrom?: number }>;

async function* upTo(
  events: AsyncIterable<RecordedEvent>,
  counts: (event: RecordedEvent) => boolean,
): AsyncGenerator<RecordedEvent, void, undefined> {
  for await (const event of events) {
    if (!counts(event)) return;
    yield event;
  }
}

const streamUpTo = ({ store }: Deps, stream: string, { position }: Bound, signal: AbortSignal) =>
  upTo(store.readForwards(stream, 0n, signal), (event) => event.position <= position);

/** Of a job that was under way; nothing once the job's end has truncated it. */
const reportsOf = ({ store }: Deps, backupId: string, { position, reportsUntil }: Bound, signal: AbortSignal) =>
  upTo(store.readForwards(streamOf.telemetry(backupId), 0n, signal), (event) =>
    reportsUntil === null ? event.position <= position : event.recordedAt <= reportsUntil,
  );

const wasOpen = ({ closed_position: closed }: HistoryJob, { position }: Bound): boolean =>
  closed === null || BigInt(closed) > position;

/** Jobs one after the other: what the tables tell of one does not depend on another's events. */
async function* eventsOfJobs(deps: Deps, jobs: readonly HistoryJob[], bound: Bound, signal: AbortSignal) {
  for (const job of jobs) {
    const own = streamUpTo(deps, streamOf.backup(job.backup_id), bound, signal);
    const sources = wasOpen(job, bound) ? [own, reportsOf(deps, job.backup_id, bound, signal)] : [own];
    let disksFrom: number | undefined = job.first_disk;
    for await (const recorded of merged(sources)) {
      yield { recorded, ...(disksFrom === undefined ? {} : { disksFrom }) } satisfies PastEvent;
      disksFrom = undefined;
    }
  }
}

async function* eventsOfVms(deps: Deps, contextIds: readonly string[], bound: Bound, signal: AbortSignal) {
  for (const contextId of contextIds) {
    for await (const recorded of streamUpTo(deps, streamOf.vmContext(contextId), bound, signal)) {
      yield { recorded } satisfies PastEvent;
    }
  }
}

const prefixes = (['backup', 'vmContext', 'repository', 'repositoryStorage'] as const).map(prefixOf);

/** The log itself, as far as the views of this kind read it, without reports. */
async function* fromTheLog({ feed }: Deps, { position }: Bound, signal: AbortSignal) {
  const enough = new AbortController();
  const either = AbortSignal.any([signal, enough.signal]);
  try {
    for await (const item of feed.subscribe(0n, { streamPrefixes: prefixes }, either)) {
      if (item.kind === 'caught-up') return;
      yield* item.events.filter((event) => event.position <= position);
      if (item.position >= position) return;
    }
    signal.throwIfAborted();
  } finally {
    enough.abort();
  }
}

async function* everything(deps: Deps, bound: Bound, signal: AbortSignal) {
  if (bound.position === 0n) return;
  const open = await deps.history.openAt(bound.position);
  const reports = open.map(({ backup_id: id }) => reportsOf(deps, id, bound, signal));
  for await (const recorded of merged([fromTheLog(deps, bound, signal), ...reports])) {
    yield { recorded } satisfies PastEvent;
  }
}

/** The events that made what a question is about, in an order in which the tables come out as they were. */
export async function* eventsOf(
  deps: Deps,
  scope: Scope,
  bound: Bound,
  signal: AbortSignal,
): AsyncGenerator<PastEvent, void, undefined> {
  const { history } = deps;
  switch (scope.of) {
    case 'backup': {
      const job = await history.job(scope.backupId, bound.position);
      yield* eventsOfJobs(deps, job ? [job] : [], bound, signal);
      return;
    }
    case 'vms': {
      yield* eventsOfVms(deps, scope.contextIds, bound, signal);
      yield* eventsOfJobs(deps, await history.jobsOf(scope.contextIds, bound.position), bound, signal);
      return;
    }
    case 'inventory':
      yield* eventsOfVms(deps, await history.vmsAt(bound.position), bound, signal);
      return;
    case 'everything':
      yield* everything(deps, bound, signal);
  }
}
