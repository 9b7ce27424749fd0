import { Subject } from 'rxjs';
import type { EventFeed } from '#commands/ports.ts';
import type { RecordedEvent } from '#domain/recorded-event.ts';
import { backupsProjection } from '#projections/backups.ts';
import { nbdProjection } from '#projections/nbd.ts';
import { type AnyProjection, anyProjection, type ReadModelDb } from '#projections/projection.ts';
import { repositoriesProjection } from '#projections/repositories.ts';
import { type ProjectionRunner, runProjections } from '#projections/run.ts';
import { sessionsProjection } from '#projections/sessions.ts';
import { vmContextsProjection } from '#projections/vm-contexts.ts';
import { vmwareCredentialsProjection } from '#projections/vmware-credentials.ts';

/** All read models, in the order in which an event is applied to them. */
export const projections: readonly AnyProjection[] = [
  anyProjection(repositoriesProjection),
  anyProjection(vmwareCredentialsProjection),
  anyProjection(vmContextsProjection),
  anyProjection(backupsProjection),
  anyProjection(nbdProjection),
  anyProjection(sessionsProjection),
];

export type LiveReadModel = Readonly<{
  runner: ProjectionRunner;
  /** Events that the tables hold, as they come. */
  applied: Subject<RecordedEvent>;
  /** For a route that answers from the tables: waits for its own write, and says so when it waited in vain. */
  settled: (position: bigint | undefined) => Promise<Readonly<Record<string, string>>>;
}>;

/** Clients give up after 30 s; an answer that is a little old and says so is worth more than none. */
const ownWritePatienceMs = 5_000;

/** Keeps the tables up with the log. */
export const startReadModel = (
  deps: Readonly<{ feed: EventFeed; db: ReadModelDb; onProblem: (error: unknown) => void }>,
  signal: AbortSignal,
): LiveReadModel => {
  const applied = new Subject<RecordedEvent>();
  const { feed, db, onProblem } = deps;
  const onApplied = (event: RecordedEvent): void => applied.next(event);
  const runner = runProjections({ source: feed, db, projections, onProblem, onApplied }, signal);
  return {
    runner,
    applied,
    settled: async (position) =>
      position === undefined || (await runner.waitFor(position, ownWritePatienceMs))
        ? {}
        : { 'x-read-model': 'behind' },
  };
};
