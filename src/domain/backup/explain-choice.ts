import { fold } from '../decider.ts';
import type { RecordedEvent } from '../recorded-event.ts';
import { restorePointsDecider } from '../restore-points/decide.ts';
import type { RestorePoint, RestorePointsEvent, RestorePointsState } from '../restore-points/events.ts';
import type { BackupDisk, BackupEventOf } from './events.ts';
import { all, first, type Point, point, proof, type Told } from './explanation.ts';

type Started = RecordedEvent<BackupEventOf<'BackupStarted'>>;
type OfPoints = RecordedEvent<RestorePointsEvent>;

const isAdmissionOf =
  (backupId: string) =>
  ({ event }: OfPoints): boolean =>
    event.type === 'BackupAdmitted' && event.data.active.backupId === backupId;

/** What could be restored when the backup was admitted. */
const stateBefore = (points: readonly OfPoints[], admission: OfPoints | undefined): RestorePointsState => {
  const decider = restorePointsDecider('');
  const before = admission ? points.filter(({ position }) => position < admission.position) : [];
  return fold(
    decider,
    before.map(({ event }) => event),
  );
};

/** The newest event that told of this backup as a restore point; carried-forward states tell of many. */
const additionOf = (points: readonly OfPoints[], backupId: string | null): OfPoints | undefined =>
  points.find(({ event }) => event.type === 'RestorePointAdded' && event.data.point.backupId === backupId) ??
  points.find(
    ({ event }) =>
      event.type === 'RestorePointsCarriedForward' &&
      event.data.state.points.some((each) => each.backupId === backupId),
  );

const explainFull = (newest: RestorePoint | undefined, repositoryId: string): string =>
  newest === undefined
    ? `nothing could be restored from ${repositoryId} yet, so only a full backup could be made`
    : `an increment on ${newest.backupId}, the newest backup there, was not asked for`;

const explainType = (told: Told, started: Started, admission: OfPoints | undefined): Point => {
  const { backupType, repositoryId, parentBackupId, disks } = started.event.data;
  const who = started.metadata.by;
  const newest = stateBefore(told.points, admission).points.findLast((each) => each.repositoryId === repositoryId);
  const why =
    backupType === 'full'
      ? explainFull(newest, repositoryId)
      : `each of its ${disks.length} disks had a finished image with a change id in ${parentBackupId}, so it was allowed`;
  const asked = backupType === 'full' ? 'A full backup' : 'An incremental backup';
  const text = `${asked} was asked for by ${who}, and that is what was made; ${why}. The hub never makes another type than it was asked for: it refuses.`;
  return point('type', text, {
    evidence: proof(started, admission, additionOf(told.points, newest?.backupId ?? null)),
  });
};

const explainBase = (told: Told, started: Started, disk: BackupDisk): Point => {
  const { parentBackupId } = started.event.data;
  const { index: diskIndex, base } = disk;
  const text =
    base === null
      ? `Disk ${diskIndex} is based on nothing: its image holds everything.`
      : `Disk ${diskIndex} is based on its image in ${parentBackupId}, ${base.imagePath}: the newest of its chain.`;
  return point('base', text, {
    diskIndex,
    evidence: proof(started, base === null ? undefined : additionOf(told.points, parentBackupId)),
  });
};

/** The parent's change id may have come after its end, in an event of its own. */
const lateChangeId = ({ points }: Told, backupId: string | null, diskIndex: number): OfPoints | undefined =>
  points.find(
    ({ event }) =>
      event.type === 'LateChangeIdRecorded' && event.data.backupId === backupId && event.data.diskIndex === diskIndex,
  );

const explainFrom = (told: Told, started: Started, disk: BackupDisk): readonly Point[] => {
  const { parentBackupId } = started.event.data;
  const { index: diskIndex, base } = disk;
  if (!base) return [];
  const late = lateChangeId(told, parentBackupId, diskIndex);
  const when = late ? ', which came after the end of that backup' : '';
  const text = `What changed on disk ${diskIndex} was counted from change id ${base.changeId} of ${parentBackupId} on${when}.`;
  return [
    point('change-id', text, { diskIndex, evidence: proof(started, late ?? additionOf(told.points, parentBackupId)) }),
  ];
};

const explainAsked = (told: Told): readonly Point[] => {
  const requested = first(told, 'TransferRequested');
  const asked = requested?.event.data.previousChangeId;
  if (!requested || asked === undefined) return [];
  const text =
    asked === null
      ? 'The node appliance was asked to copy everything: no change id was given to it.'
      : `The node appliance was asked to copy what changed since ${asked}, the change id of the first disk; its client asks for the other disks' ids itself.`;
  return [point('change-id', text, { evidence: proof(requested) })];
};

const explainTo = (told: Told): readonly Point[] =>
  all(told, 'DiskChangeIdRecorded').map((recorded) => {
    const { diskIndex, changeId } = recorded.event.data;
    const text = `The next increment of disk ${diskIndex} begins at change id ${changeId}, which the client told when the disk had arrived.`;
    return point('change-id', text, { diskIndex, evidence: proof(recorded) });
  });

/** Why this type, on what base, from which change ids on, and to which. */
export const explainChoice = (told: Told, started: Started): readonly Point[] => {
  const { backupId, disks } = started.event.data;
  const admission = told.points.find(isAdmissionOf(backupId));
  return [
    explainType(told, started, admission),
    ...disks.map((disk) => explainBase(told, started, disk)),
    ...disks.flatMap((disk) => explainFrom(told, started, disk)),
    ...explainAsked(told),
    ...explainTo(told),
  ];
};
