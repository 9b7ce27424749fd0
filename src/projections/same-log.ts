import type { LogIdentity, LogMark, MarkFound } from './ports.ts';

export type Known = Readonly<{
  /** How far the tables are. */
  checkpoint: bigint;
  /** Events that the log had; empty when none were noted. */
  marks: readonly LogMark[];
}>;

const told: Readonly<Record<Exclude<MarkFound, 'there' | 'removed'>, string>> = {
  elsewhere: 'is at another position in this log',
  replaced: 'is no longer in this log, and another event has its position',
  absent: 'is not in this log',
};

const misplaced = ({ stream, revision, position }: LogMark, where: MarkFound): string | undefined =>
  where === 'there' || where === 'removed'
    ? undefined
    : `the event at position ${position} (${stream} revision ${revision}) ${told[where]}`;

/**
 * Why this log cannot be the one that the tables follow; undefined when it is. A mark proves nothing once it was scavenged, so
 * there are several, and each that can be found must be where it was. Where none can, the tables are taken for another
 * log's: to build them anew costs less than to trust them wrongly.
 */
export const whyAnother = async (log: LogIdentity, { checkpoint, marks }: Known): Promise<string | undefined> => {
  const [head, found] = await Promise.all([
    log.head(),
    Promise.all(marks.map(async (mark) => ({ mark, where: await log.find(mark) }))),
  ]);
  for (const { mark, where } of found) {
    const why = misplaced(mark, where);
    if (why !== undefined) return why;
  }
  // After the marks, which tell more about a log that is shorter because it is another one.
  if (checkpoint > head) {
    return `this log ends at position ${head}, and the read models hold everything up to ${checkpoint}: it lost its end, or is an older copy`;
  }
  return found.length > 0 && found.every(({ where }) => where === 'removed')
    ? 'this log has none of the events any more by which it was known'
    : undefined;
};
