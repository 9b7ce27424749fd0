import type { RecordedEvent } from '../recorded-event.ts';
import { inWords } from './duration.ts';
import type { BackupEventOf, FailureKind } from './events.ts';
import { all, first, type Point, point, proof, type Told } from './explanation.ts';
import { narrate } from './narrate.ts';

type Started = RecordedEvent<BackupEventOf<'BackupStarted'>>;

/** Whose fault a failure was. */
const culprits: Readonly<Record<FailureKind, string>> = {
  repository: 'the repository',
  'ports-exhausted': 'the pool of NBD ports, which had too few free',
  image: 'the images of its disks',
  export: 'an export on this host',
  credential: 'the vCenter login',
  'node-unreachable': 'the node appliance, which could not be reached',
  'node-refused': 'the node appliance, which refused',
  client: 'the backup client, which said so itself',
  silence: 'the backup client, which was not heard of any more',
  'unclean-image': 'an export that did not end in order',
  'hub-restart': 'the hub, which stopped before the node appliance had the job',
};

const explainFailure = (told: Told, failed: RecordedEvent<BackupEventOf<'BackupFailed'>>, lasted: string): Point => {
  const { kind, reason } = failed.event.data;
  const text = `It failed after ${lasted}, because of ${culprits[kind]}: ${reason}.`;
  return point('end', text, { evidence: proof(first(told, 'DiskExportDied'), failed) });
};

const explainCompletion = (
  told: Told,
  completed: RecordedEvent<BackupEventOf<'BackupCompleted'>>,
  lasted: string,
): Point => {
  const registered = told.points.find(
    ({ event }) => event.type === 'RestorePointAdded' && event.data.point.backupId === completed.event.data.backupId,
  );
  const text = `It completed after ${lasted}: all disks had arrived, every export had ended in order and its images were sealed. ${narrate(completed.event)}`;
  return point('end', text, {
    evidence: proof(
      ...all(told, 'DiskExportStopped').filter((each) => each.position < completed.position),
      registered,
      completed,
    ),
  });
};

const afterwards = ['BackupRemovalRequested', 'BackupRemoved'] as const;

/** How it ended and why, and what became of it. */
export const explainEnd = (told: Told, started: Started): readonly Point[] => {
  const [completed, failed] = [first(told, 'BackupCompleted'), first(told, 'BackupFailed')];
  const end = completed ?? failed;
  const lasted = end ? inWords(told.between(started.recordedAt, end.recordedAt)) : '';
  const ends = completed
    ? [explainCompletion(told, completed, lasted)]
    : failed
      ? [explainFailure(told, failed, lasted)]
      : [point('end', 'It has not ended yet.', { evidence: proof(told.job.at(-1)) })];
  const later = afterwards.flatMap((type) =>
    all(told, type).map((recorded) => {
      const text = `${narrate(recorded.event)} By ${recorded.metadata.by}.`;
      return point('afterwards', text, { evidence: proof(recorded) });
    }),
  );
  return [...ends, ...later];
};
