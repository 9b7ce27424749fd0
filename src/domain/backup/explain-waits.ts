import type { RecordedEvent } from '../recorded-event.ts';
import { inWords } from './duration.ts';
import type { BackupEventOf } from './events.ts';
import { all, first, type Point, point, proof, type Told } from './explanation.ts';

type Started = RecordedEvent<BackupEventOf<'BackupStarted'>>;

/** Somebody waited from one event to another; `to` is missing while it lasts, or if it never came. */
type Wait = Readonly<{
  what: string;
  from: RecordedEvent | undefined;
  to: RecordedEvent | undefined;
  diskIndex?: number | null;
}>;

const waitOf = (told: Told, { what, from, to, diskIndex = null }: Wait): readonly Point[] => {
  if (!from) return [];
  const evidence = proof(from, to);
  if (to) {
    const durationMs = told.between(from.recordedAt, to.recordedAt);
    return [point('wait', `Waited ${inWords(durationMs)} for ${what}.`, { diskIndex, durationMs, evidence })];
  }
  const end = endOf(told);
  const text = !end || from === end ? `Still waits for ${what}.` : `Waited for ${what}, and it never came.`;
  return [point('wait', text, { diskIndex, evidence })];
};

const endOf = (told: Told): RecordedEvent | undefined => first(told, 'BackupCompleted') ?? first(told, 'BackupFailed');

const ofDisk = (told: Told, type: 'DiskImageCreated' | 'DiskExportStarted', diskIndex: number) =>
  all(told, type).find(({ event: { data } }) => 'diskIndex' in data && data.diskIndex === diskIndex);

const later = (a: RecordedEvent | undefined, b: RecordedEvent | undefined): RecordedEvent | undefined =>
  !a || !b ? undefined : a.position > b.position ? a : b;

const last = (events: readonly RecordedEvent[]): RecordedEvent | undefined => events.at(-1);

/** Images and exports come into being side by side, disk by disk. */
const waitsOfDisk = (told: Told, started: Started, index: number): readonly Point[] => {
  const image = ofDisk(told, 'DiskImageCreated', index);
  const serving = ofDisk(told, 'DiskExportStarted', index);
  const ready = later(image, first(told, 'ExportPortsAssigned'));
  const diskIndex = index;
  return [
    ...waitOf(told, { what: `the empty image of disk ${index}`, from: started, to: image, diskIndex }),
    ...waitOf(told, { what: `the export of disk ${index} to open`, from: ready, to: serving, diskIndex }),
  ];
};

/** The first report may be truncated by now; newer hubs note its time at the job's end. */
const waitForReport = (told: Told): readonly Point[] => {
  const accepted = first(told, 'TransferAccepted');
  if (!accepted) return [];
  const what = "the client's first report (snapshot and change tracking come before it)";
  if (told.firstReport) return waitOf(told, { what, from: accepted, to: told.firstReport });
  const closed = all(told, 'BackupClosed').find(({ event }) => event.data.telemetry);
  const firstAt = closed?.event.data.telemetry?.firstAt;
  if (!closed || firstAt === undefined) return [];
  const durationMs = told.between(accepted.recordedAt, firstAt);
  const text =
    durationMs < 0
      ? `The client had reported before the node appliance answered.`
      : `Waited ${inWords(durationMs)} for ${what}.`;
  return [point('wait', text, { durationMs: Math.max(0, durationMs), evidence: proof(accepted, closed) })];
};

const waitsForData = (told: Told, diskIndexes: readonly number[]): readonly Point[] => {
  const accepted = first(told, 'TransferAccepted') ?? first(told, 'TransferRequested');
  return diskIndexes.flatMap((diskIndex) => {
    const arrived = told.job.find(
      ({ event }) =>
        (event.type === 'DiskTransferred' || event.type === 'DiskChangeIdRecorded') &&
        event.data.diskIndex === diskIndex,
    );
    return waitOf(told, { what: `the data of disk ${diskIndex}`, from: accepted, to: arrived, diskIndex });
  });
};

const stalls = (told: Told): readonly Point[] =>
  all(told, 'BackupStalled').flatMap((stalled) => {
    const over = told.job.find(
      ({ event, position }) =>
        position > stalled.position && ['BackupResumed', 'BackupFailed', 'BackupCompleted'].includes(event.type),
    );
    return waitOf(told, { what: 'a sign of life of the client, in vain or not', from: stalled, to: over });
  });

/** Every wait of a job, in the order in which a job goes. */
export const explainWaits = (told: Told, started: Started): readonly Point[] => {
  const indexes = started.event.data.disks.map(({ index }) => index);
  const completed = first(told, 'BackupCompleted');
  const dataIn = last(
    [...all(told, 'DiskTransferred'), ...all(told, 'DiskChangeIdRecorded')].filter(before(completed)),
  );
  const stopped = last(all(told, 'DiskExportStopped').filter(before(completed)));
  return [
    ...waitOf(told, { what: 'NBD ports', from: started, to: first(told, 'ExportPortsAssigned') }),
    ...indexes.flatMap((index) => waitsOfDisk(told, started, index)),
    ...waitOf(told, {
      what: 'the node appliance to take the job',
      from: first(told, 'TransferRequested'),
      to: first(told, 'TransferAccepted'),
    }),
    ...waitForReport(told),
    ...waitsForData(told, indexes),
    ...stalls(told),
    ...(completed
      ? [
          ...waitOf(told, { what: 'the exports to end in order', from: dataIn, to: stopped }),
          ...waitOf(told, { what: 'the images to be sealed and registered', from: stopped, to: completed }),
        ]
      : []),
    ...waitOf(told, { what: 'everything to be freed', from: endOf(told), to: first(told, 'BackupClosed') }),
  ];
};

const before =
  (end: RecordedEvent | undefined) =>
  ({ position }: RecordedEvent): boolean =>
    end === undefined || position < end.position;
