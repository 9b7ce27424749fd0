import { type EventStoreDBClient, jsonEvent, NO_STREAM } from '@eventstore/db-client';
import type { BackupEvent } from '#domain/backup/events.ts';
import type { DomainEvent } from '#domain/decider.ts';
import { streamOf } from '#domain/streams.ts';
import { eventVersions } from '../../src/composition/event-registry.ts';
import { at, histories, progress } from '../support/backup-facts.ts';

const vms = 200;
/** Reports of a job that were not truncated: those that run, and those of a store that was not scavenged. */
const reportsPerJob = 30;
const jobsAtOnce = 48;

const ofJob = (event: BackupEvent, job: number): DomainEvent => {
  const vm = job % vms;
  const { data } = event;
  const backupId = `backup-vm${vm}-${1_700_000_000 + job}`;
  if (event.type !== 'BackupStarted') return { type: event.type, data: { ...data, backupId } };
  const names = { vmName: `vm${vm}`, vmContextId: `ctx-vm${vm}`, backupContextId: `ctx-backup-vm${vm}` };
  return { type: event.type, data: { ...event.data, ...names, backupId } };
};

/** One backup of two disks, from its request to its end, with what its client reported on the way. */
const jobHistory = (job: number): Readonly<{ begin: DomainEvent[]; reports: DomainEvent[]; end: DomainEvent[] }> => {
  const all = (job % 10 === 0 ? histories.failed : histories.completed).map((event) => ofJob(event, job));
  const jobId = `backup-vm${job % vms}-${1_700_000_000 + job}`;
  const begun = histories.running.length;
  const report = (_: unknown, index: number): DomainEvent => {
    const percent = (100 * index) / reportsPerJob;
    const { type, data } = progress({ percent, bytesTransferred: index * 1024 ** 3 });
    return { type, data: { ...data, jobId, at: at(5 + index) } };
  };
  return {
    begin: all.slice(0, begun),
    reports: Array.from({ length: reportsPerJob }, report),
    end: all.slice(begun),
  };
};

const stored = ({ type, data }: DomainEvent) =>
  jsonEvent({
    ...{ type, data: data as Record<string, unknown> },
    metadata: { by: 'process:backup-runner', v: eventVersions[type] ?? 1 },
  });

const appendJob = async (client: EventStoreDBClient, job: number): Promise<number> => {
  const { begin, reports, end } = jobHistory(job);
  const id = `backup-vm${job % vms}-${1_700_000_000 + job}`;
  const first = await client.appendToStream(streamOf.backup(id), begin.map(stored), { expectedRevision: NO_STREAM });
  await client.appendToStream(streamOf.telemetry(id), reports.map(stored), { expectedRevision: NO_STREAM });
  await client.appendToStream(streamOf.backup(id), end.map(stored), { expectedRevision: first.nextExpectedRevision });
  return begin.length + reports.length + end.length;
};

/** Appends backup after backup until the log has so many events more. */
export const growLog = async (
  client: EventStoreDBClient,
  { events, firstJob }: Readonly<{ events: number; firstJob: number }>,
  tell: (done: number) => void,
): Promise<Readonly<{ events: number; nextJob: number }>> => {
  let done = 0;
  let job = firstJob;
  const worker = async (): Promise<void> => {
    while (done < events) {
      const mine = job;
      job += 1;
      const appended = await appendJob(client, mine);
      done += appended;
      if (mine % 500 === 0) tell(done);
    }
  };
  await Promise.all(Array.from({ length: jobsAtOnce }, worker));
  return { events: done, nextJob: job };
};
