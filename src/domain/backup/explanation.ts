import type { RecordedEvent } from '../recorded-event.ts';
import type { RestorePointsEvent } from '../restore-points/events.ts';
import type { ProgressReported } from '../telemetry/events.ts';
import type { BackupEvent, BackupEventOf } from './events.ts';

/** The event that proves a point. */
export type Evidence = Readonly<{
  stream: string;
  revision: bigint;
  id: string;
  position: bigint;
  type: string;
  time: string;
}>;

export type Topic = 'type' | 'base' | 'change-id' | 'wait' | 'trouble' | 'end' | 'afterwards';

export type Point = Readonly<{
  topic: Topic;
  /** Null when it is about the whole backup. */
  diskIndex: number | null;
  text: string;
  /** Of a wait that is over. */
  durationMs: number | null;
  evidence: readonly Evidence[];
}>;

type Recorded<E extends BackupEvent | RestorePointsEvent> = RecordedEvent<E>;

/** A job with all that explains it: what its stream tells, what its VM's stream told, and its first report if it is left. */
export type Told = Readonly<{
  job: readonly Recorded<BackupEvent>[];
  points: readonly Recorded<RestorePointsEvent>[];
  firstReport: RecordedEvent<ProgressReported> | undefined;
  /** Milliseconds from one time to the other; the domain has no clock and no calendar. */
  between: (from: string, to: string) => number;
}>;

export const proof = (...events: readonly (RecordedEvent | undefined)[]): readonly Evidence[] =>
  events.flatMap((recorded) => {
    if (!recorded) return [];
    const { stream, revision, id, position, event, recordedAt: time } = recorded;
    return [{ stream, revision, id, position, type: event.type, time }];
  });

export const point = (topic: Topic, text: string, more: Partial<Omit<Point, 'topic' | 'text'>> = {}): Point => ({
  ...{ topic, text, diskIndex: null, durationMs: null, evidence: [] },
  ...more,
});

/** All events of one type, oldest first. */
export const all = <Type extends BackupEvent['type']>({ job }: Pick<Told, 'job'>, type: Type) =>
  job.filter((recorded): recorded is RecordedEvent<BackupEventOf<Type>> => recorded.event.type === type);

export const first = <Type extends BackupEvent['type']>(told: Pick<Told, 'job'>, type: Type) => all(told, type)[0];
