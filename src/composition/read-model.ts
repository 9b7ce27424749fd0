import { Subject } from 'rxjs';
import type { EventFeed } from '#commands/ports.ts';
import type { RecordedEvent } from '#domain/recorded-event.ts';
import type { Database } from '#infra/postgres/database.ts';
import { auditProjection } from '#projections/audit.ts';
import { backupsProjection } from '#projections/backups.ts';
import { diskRestoresProjection } from '#projections/disk-restores.ts';
import { eventIndexProjection } from '#projections/event-index.ts';
import { liveGenerations } from '#projections/generation.ts';
import { historyIndexProjection } from '#projections/history-index.ts';
import { nbdProjection } from '#projections/nbd.ts';
import { type ParkedStreamQueries, parkedStreamQueries } from '#projections/parked-streams.ts';
import type { ReadStream } from '#projections/ports.ts';
import { type AnyProjection, anyProjection } from '#projections/projection.ts';
import { repositoriesProjection } from '#projections/repositories.ts';
import { restoreMountsProjection } from '#projections/restore-mounts.ts';
import { type ProjectionRunner, runProjections } from '#projections/run.ts';
import { sessionsProjection } from '#projections/sessions.ts';
import { keepTidy, useGenerations } from '#projections/tidy.ts';
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
  /** For a route that answers from the tables: waits for its own write, and says so when it waited in vain. */
  settled: (position: bigint | undefined) => Promise<Readonly<Record<string, string>>>;
}>;

/** Clients give up after 30 s; an answer that is a little old and says so is worth more than none. */
const ownWritePatienceMs = 5_000;

type Deps = Readonly<{
  feed: EventFeed;
  readStream: ReadStream;
  database: Pick<Database, 'readModel' | 'openSchemas'>;
  onProblem: (error: unknown) => void;
}>;

/** Keeps the tables up with the log. */
export const startReadModel = (deps: Deps, signal: AbortSignal): LiveReadModel => {
  const applied = new Subject<RecordedEvent>();
  const { feed, readStream, onProblem } = deps;
  const { readModel: db, openSchemas } = deps.database;
  const onApplied = (event: RecordedEvent): void => applied.next(event);
  const runner = runProjections({ source: feed, readStream, db, projections, onProblem, onApplied }, signal);
  const rebuilds = createRebuilds({ db, openSchemas, source: feed, readStream, projections }, signal);
  const generations = liveGenerations(projections);
  const inUse = useGenerations(db, generations, signal);
  const aborted = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  const tidied = Promise.race([runner.caughtUp, aborted]).then(() => keepTidy(db, generations, onProblem, signal));
  const done = Promise.all([runner.done, inUse, tidied]).then(rebuilds.settled);
  return {
    runner: { ...runner, done },
    applied,
    rebuilds,
    parked: parkedStreamQueries(db, projections),
    settled: async (position) =>
      position === undefined || (await runner.waitFor(position, ownWritePatienceMs))
        ? {}
        : { 'x-read-model': 'behind' },
  };
};
