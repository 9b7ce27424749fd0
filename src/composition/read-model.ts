import { randomUUID } from 'node:crypto';
import { Subject } from 'rxjs';
import type { EventFeed } from '#commands/ports.ts';
import type { RecordedEvent } from '#domain/recorded-event.ts';
import type { Database } from '#infra/postgres/database.ts';
import { auditProjection } from '#projections/audit.ts';
import { backupsProjection } from '#projections/backups.ts';
import { diskRestoresProjection } from '#projections/disk-restores.ts';
import { eventIndexProjection } from '#projections/event-index.ts';
import type { FollowedLog } from '#projections/followed-log.ts';
import { liveGenerations } from '#projections/generation.ts';
import { historyIndexProjection } from '#projections/history-index.ts';
import { nbdProjection } from '#projections/nbd.ts';
import { createOwnLog } from '#projections/own-log.ts';
import { type ParkedStreamQueries, parkedStreamQueries } from '#projections/parked-streams.ts';
import type { BatchObserver, LogIdentity, ReadStream } from '#projections/ports.ts';
import { type AnyProjection, anyProjection } from '#projections/projection.ts';
import { repositoriesProjection } from '#projections/repositories.ts';
import { restoreMountsProjection } from '#projections/restore-mounts.ts';
import { type ProjectionRunner, runProjections } from '#projections/run.ts';
import { sessionsProjection } from '#projections/sessions.ts';
import { keepTidy } from '#projections/tidy.ts';
import { useGenerations } from '#projections/use.ts';
import { vmContextsProjection } from '#projections/vm-contexts.ts';
import { vmwareCredentialsProjection } from '#projections/vmware-credentials.ts';
import { eventVersions } from './event-registry.ts';
import { createRebuilds, type Rebuilds } from './rebuilds.ts';

/** All read models, in the order in which an event is applied to them. */
export const projections: readonly AnyProjection[] = [
  anyProjection(repositoriesProjection),
  anyProjection(vmwareCredentialsProjection),
  anyProjection(vmContextsProjection),
  anyProjection(backupsProjection),
  anyProjection(nbdProjection),
  anyProjection(restoreMountsProjection),
  anyProjection(diskRestoresProjection),
  anyProjection(sessionsProjection),
  anyProjection(auditProjection),
  anyProjection(eventIndexProjection(Object.keys(eventVersions))),
  anyProjection(historyIndexProjection),
];

export type LiveReadModel = Readonly<{
  runner: ProjectionRunner;
  /** Events that the tables hold, as they come. */
  applied: Subject<RecordedEvent>;
  rebuilds: Rebuilds;
  /** Streams that wait for a decision. */
  parked: ParkedStreamQueries;
  /** Which log the tables are of, and why they were begun anew for it. */
  followed: () => Promise<FollowedLog | undefined>;
  /** For a route that answers from the tables: waits for its own write, and says so when it waited in vain. */
  settled: (position: bigint | undefined) => Promise<Readonly<Record<string, string>>>;
}>;

/** Clients give up after 30 s; an answer that is a little old and says so is worth more than none. */
const ownWritePatienceMs = 5_000;

type Deps = Readonly<{
  feed: EventFeed;
  readStream: ReadStream;
  logIdentity: LogIdentity;
  database: Pick<Database, 'readModel' | 'openSchemas'>;
  onProblem: (error: unknown) => void;
  /** The tables were of another log, and why that is certain. */
  onBegunAnew: (why: string) => void;
  /** How long a hub that still uses them for that one is waited for. */
  patienceMs?: number;
  batches?: BatchObserver;
}>;

/**
 * Keeps the tables up with the log. Returns once they are known to be this log's: those of another one are gone then. Throws
 * `TablesInUse`.
 */
export const startReadModel = async (deps: Deps, signal: AbortSignal): Promise<LiveReadModel> => {
  const applied = new Subject<RecordedEvent>();
  const { feed, readStream, logIdentity: log, onProblem } = deps;
  const { readModel: db, openSchemas } = deps.database;
  const generations = liveGenerations(projections);
  const ownLog = createOwnLog({ ...deps, db, projections, log, source: feed, newId: randomUUID }, signal);
  const { source } = ownLog;
  const inUse = useGenerations(db, generations, signal, { settle: ownLog.settle, onProblem });
  await inUse.held;
  const onApplied = (event: RecordedEvent): void => {
    ownLog.applied(event);
    applied.next(event);
  };
  const watched = deps.batches ? { batches: deps.batches } : {};
  const runner = runProjections({ source, readStream, db, projections, onProblem, onApplied, ...watched }, signal);
  const rebuilds = createRebuilds({ db, openSchemas, source, readStream, projections }, signal);
  const aborted = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  const tidied = Promise.race([runner.caughtUp, aborted]).then(() => keepTidy(db, generations, onProblem, signal));
  const done = Promise.all([runner.done, inUse.ended, tidied, ownLog.keep(runner.done)]).then(rebuilds.settled);
  return {
    runner: { ...runner, done },
    applied,
    rebuilds,
    parked: parkedStreamQueries(db, projections),
    followed: ownLog.followed,
    settled: async (position) =>
      position === undefined || (await runner.waitFor(position, ownWritePatienceMs))
        ? {}
        : { 'x-read-model': 'behind' },
  };
};
