import type { TestContext } from 'node:test';
import type { DomainEvent } from '#domain/decider.ts';
import type { NbdPortsEvent } from '#domain/nbd-ports/nbd-ports.ts';
import { streamOf } from '#domain/streams.ts';
import type { Database } from '#infra/postgres/database.ts';
import { backupsProjection } from '#projections/backups.ts';
import { nbdProjection } from '#projections/nbd.ts';
import { type AnyProjection, anyProjection } from '#projections/projection.ts';
import { runProjections } from '#projections/run.ts';
import { at, backupStarted } from '../support/backup-facts.ts';
import { context } from '../support/backup-world.ts';
import type { createFakeEventStore } from '../support/fake-event-store.ts';

/** Two read models with numbers that they hand out and rows that they count. */
export const projections: readonly AnyProjection[] = [anyProjection(backupsProjection), anyProjection(nbdProjection)];

export type Store = ReturnType<typeof createFakeEventStore>;
const allocated = (port: number): NbdPortsEvent => ({
  type: 'NbdPortsAllocated',
  data: { leases: [{ port, jobId: 'job-a', exportName: 'x', allocatedAt: at(), expiresAt: at(1) }] },
});

let ports = 0;
const newPort = (): number => {
  ports += 1;
  return ports;
};
const append = async (store: Store, stream: string, ...events: readonly DomainEvent[]): Promise<bigint> => {
  const { revision } = await store.read(stream);
  return (await store.append(stream, events, revision, context())).position;
};
export const lease = (store: Store, count: number) =>
  append(store, streamOf.nbdPorts('hub-1'), ...Array.from({ length: count }, () => allocated(newPort())));
export const startBackup = (store: Store, backupId: string) =>
  append(store, streamOf.backup(backupId), backupStarted({ backupId }));

/** A hub's runner, caught up; it ends with the test. */
export const live = async (t: TestContext, store: Store, db: Database, views = projections) => {
  const stop = new AbortController();
  const { feed: source, readStream } = store;
  const runner = runProjections(
    { source, readStream, db: db.readModel, projections: views, onProblem: () => undefined },
    stop.signal,
  );
  t.after(async () => {
    stop.abort();
    await runner.done;
  });
  await runner.caughtUp;
  return runner;
};

export const leased = async ({ readModel }: Database): Promise<number> => {
  const { n } = await readModel
    .selectFrom('nbd_port_allocations')
    .select((eb) => eb.fn.countAll<number>().as('n'))
    .executeTakeFirstOrThrow();
  return Number(n);
};
