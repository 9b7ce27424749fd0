import { type Breakdown, spreadOf } from './figures.ts';
import type { JobEvent } from './hub-api.ts';

/** What one job's client saw (milliseconds since the epoch), and its events. */
export type Watched = Readonly<{
  askedAtMs: number;
  answeredAtMs: number;
  events: readonly JobEvent[];
  /** What the node tells of its own work, in its order. */
  nodePhases: readonly Readonly<{ name: string; durationMs: number }>[];
}>;

type Moment = Readonly<{ part: string; at: (watched: Watched) => number }>;

const newest = (times: readonly number[]): number => (times.length === 0 ? Number.NaN : Math.max(...times));

/** When the last of them had happened; its record follows. */
const happened =
  (...types: readonly string[]) =>
  ({ events }: Watched): number =>
    newest(events.filter(({ type }) => types.includes(type)).map(({ happenedAtMs }) => happenedAtMs));

const recorded =
  (...types: readonly string[]) =>
  ({ events }: Watched): number =>
    newest(events.filter(({ type }) => types.includes(type)).map(({ recordedAtMs }) => recordedAtMs));

/** From the request to its answer; each part ends with its moment. */
export const untilAnswered: readonly Moment[] = [
  { part: 'request to BackupStarted recorded', at: recorded('BackupStarted') },
  { part: 'ports assigned, meanwhile', at: happened('ExportPortsAssigned') },
  { part: 'images made', at: happened('DiskImageCreated') },
  { part: '… recorded', at: recorded('DiskImageCreated') },
  { part: 'exports listen', at: happened('DiskExportStarted') },
  { part: '… recorded', at: recorded('DiskExportStarted') },
  { part: 'transfer requested, recorded', at: recorded('TransferRequested') },
  { part: 'node has answered', at: happened('TransferAccepted') },
  { part: '… recorded', at: recorded('TransferAccepted') },
  { part: 'answer', at: ({ answeredAtMs }) => answeredAtMs },
];

/** From the request to the recorded end. */
export const untilCompleted: readonly Moment[] = [
  { part: 'request to exports listen', at: happened('DiskExportStarted') },
  { part: 'node has the job', at: recorded('TransferAccepted') },
  { part: 'transfer, to the last disk told', at: recorded('DiskTransferred', 'DiskChangeIdRecorded') },
  { part: 'exports stopped', at: happened('DiskExportStopped') },
  { part: '… recorded', at: recorded('DiskExportStopped') },
  { part: 'ports released', at: recorded('ExportPortsReleased') },
  { part: 'completed', at: recorded('BackupCompleted') },
];

/** How long each part took, over all jobs. Side by side work makes a part zero or negative: it ended before the last one. */
export const breakDown = (name: string, moments: readonly Moment[], jobs: readonly Watched[]): Breakdown => ({
  ...{ name, unit: 'ms' },
  parts: moments.map(({ part, at }, index) => {
    const before = moments[index - 1]?.at ?? (({ askedAtMs }: Watched) => askedAtMs);
    return { name: part, measured: spreadOf(jobs.map((watched) => at(watched) - before(watched))) };
  }),
});

/** The node's own account of the same jobs. */
export const nodeBreakDown = (jobs: readonly Watched[]): Breakdown => {
  const names = jobs[0]?.nodePhases.map(({ name }) => name) ?? [];
  const durationsOf = (wanted: string): readonly number[] =>
    jobs.flatMap(({ nodePhases }) => nodePhases.find(({ name }) => name === wanted)?.durationMs ?? []);
  return {
    ...{ name: 'at the node', unit: 'ms' },
    parts: names.map((name) => ({ name, measured: spreadOf(durationsOf(name)) })),
  };
};
