import { isSkipped, type RestoreOutcome } from './restore.ts';
import type { Checked, DemoResult } from './story.ts';

const differences = ({ type, verdicts }: Checked): readonly string[] =>
  verdicts.flatMap(({ identical, diskIndex, detail }) =>
    identical ? [] : [`disk ${diskIndex} of the ${type} backup differs from the VM: ${detail}`],
  );

export const isVerified = ({ verdicts }: Checked): boolean =>
  verdicts.length > 0 && verdicts.every(({ identical }) => identical);

const lostFiles = (outcome: RestoreOutcome): readonly string[] => {
  if (isSkipped(outcome)) return [];
  const { path, inFull, inIncremental } = outcome;
  const found = [['full', inFull] as const, ['incremental', inIncremental] as const];
  return found.flatMap(([type, file]) => (file.matches ? [] : [`${path} of the ${type} backup is not as it was`]));
};

/** What did not hold, a sentence each. */
export const judge = (
  { vm, full, incremental, restore }: DemoResult,
  leftovers: readonly string[],
): readonly string[] => [
  ...differences(full),
  ...differences(incremental),
  ...[full, incremental].flatMap(({ verdicts, type }) =>
    verdicts.length === vm.disks.length ? [] : [`the ${type} backup does not have all disks of the VM`],
  ),
  ...(incremental.type === 'incremental' ? [] : ['the second backup is not incremental']),
  // Copying everything again would compare identical as well.
  ...(incremental.bytesTransferred > 0 && incremental.bytesTransferred < full.bytesTransferred / 2
    ? []
    : [`the incremental backup moved ${incremental.bytesTransferred} bytes, the full one ${full.bytesTransferred}`]),
  ...lostFiles(restore),
  ...leftovers.map((what) => `left over: ${what}`),
];
