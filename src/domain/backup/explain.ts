import { explainChoice } from './explain-choice.ts';
import { explainEnd } from './explain-end.ts';
import { explainWaits } from './explain-waits.ts';
import { all, first, type Point, point, proof, type Told } from './explanation.ts';
import { narrate } from './narrate.ts';

const troubles = ['ExportPortLost', 'DiskExportDied', 'BackupStalled', 'BackupRemovalFailed'] as const;

const explainTrouble = (told: Told): readonly Point[] =>
  troubles.flatMap((type) =>
    all(told, type).map((recorded) => point('trouble', narrate(recorded.event), { evidence: proof(recorded) })),
  );

/**
 * Why a backup is what it is: why this type, what it is based on, from where on it was copied, what it waited for, what went
 * wrong and how it ended, each with the events that prove it. Empty for a job that is unknown.
 */
export const explain = (told: Told): readonly Point[] => {
  const started = first(told, 'BackupStarted');
  if (!started) return [];
  return [
    ...explainChoice(told, started),
    ...explainWaits(told, started),
    ...explainTrouble(told),
    ...explainEnd(told, started),
  ];
};
