import { z } from 'zod';
import { formatChangeId, newEpoch, parseChangeId } from '../../change-id.ts';
import { type Extent, union } from '../../extents.ts';

const Extents = z.array(z.object({ offset: z.number().int().nonnegative(), length: z.number().int().positive() }));

/**
 * What is known about one disk's changes; kept beside its mirror. `log` has what changed from snapshot n - 1 to n,
 * `pending` what changed since the last snapshot. `stamp` is the disk's stamp at which mirror and disk were equal,
 * null while they may differ.
 */
export const MirrorState = z.object({
  version: z.literal(1),
  epoch: z.string(),
  sequence: z.number().int().nonnegative(),
  /** Same file and size: else it is another disk and history is void. */
  identity: z.string(),
  /** The mirror's own inode and birth: a data folder that was copied or restored starts a new epoch. */
  mirror: z.string(),
  capacityBytes: z.number().int().nonnegative(),
  stamp: z.string().nullable(),
  /** Whether the stamp can be relied on later. */
  firm: z.boolean(),
  pending: Extents,
  log: z.array(z.object({ sequence: z.number().int(), extents: Extents })),
});
export type MirrorState = Readonly<z.infer<typeof MirrorState>>;

// A disk has few backups that are still the head of a chain; older ids count as unknown.
const keptSnapshots = 100;
const keptExtents = 200_000;

export const newState = (
  of: Pick<MirrorState, 'identity' | 'mirror' | 'capacityBytes' | 'stamp' | 'firm'>,
): MirrorState => ({
  version: 1,
  epoch: newEpoch(),
  sequence: 0,
  ...of,
  pending: [],
  log: [],
});

export const withPending = (state: MirrorState, extents: readonly Extent[]): MirrorState => ({
  ...state,
  stamp: null,
  firm: false,
  pending: [...union(state.pending, extents)],
});

const bounded = (log: MirrorState['log']): MirrorState['log'] => {
  let extents = 0;
  const from = log.findLastIndex((entry) => {
    extents += entry.extents.length;
    return extents > keptExtents;
  });
  return log.slice(from + 1).slice(-keptSnapshots);
};

export const withSnapshot = (state: MirrorState): MirrorState => {
  const sequence = state.sequence + 1;
  return { ...state, sequence, pending: [], log: bounded([...state.log, { sequence, extents: state.pending }]) };
};

export const changeIdOf = ({ epoch, sequence }: MirrorState): string => formatChangeId({ epoch, sequence });

/** Changes from that id to the state's last snapshot; undefined when the log does not reach back to it. */
export const changedSince = (state: MirrorState, changeId: string): readonly Extent[] | undefined => {
  const since = parseChangeId(changeId);
  if (since === undefined || since.epoch !== state.epoch) return undefined;
  if (since.sequence < 1 || since.sequence > state.sequence) return undefined;
  const later = state.log.filter(({ sequence }) => sequence > since.sequence);
  if (later.length !== state.sequence - since.sequence) return undefined;
  return union(...later.map(({ extents }) => extents));
};
