import type { Decider } from '../decider.ts';
import { DomainError } from '../errors.ts';
import type { Versions } from '../event-versions.ts';

/**
 * A claim gives one key (a name, a number) to one holder, guarded by its stream's revision instead of by reading a table
 * first. A hub may die between the claim and the holder's first event, so a holder that never came to be, or is gone, may
 * be replaced: who claims tells so with `abandonedHolder`.
 */
export type ClaimEvent =
  | Readonly<{ type: 'NameClaimed'; data: Readonly<{ key: string; holder: string; at: string }> }>
  | Readonly<{ type: 'NameReleased'; data: Readonly<{ key: string; holder: string; at: string }> }>;

export type ClaimState = Readonly<{ holder: string | null; since: string | null }>;

export type ClaimCommand =
  | Readonly<{
      type: 'ClaimName';
      data: Readonly<{ key: string; holder: string; abandonedHolder?: string; at: string }>;
    }>
  | Readonly<{ type: 'ReleaseName'; data: Readonly<{ key: string; holder: string; at: string }> }>;

const decide = (command: ClaimCommand, state: ClaimState): readonly ClaimEvent[] => {
  const { key, holder, at } = command.data;
  switch (command.type) {
    case 'ClaimName': {
      if (state.holder === holder) return [];
      if (state.holder !== null && state.holder !== command.data.abandonedHolder) {
        throw new DomainError('name-taken', `"${key}" is already in use; choose another name`, { name: key });
      }
      return [{ type: 'NameClaimed', data: { key, holder, at } }];
    }
    case 'ReleaseName':
      return state.holder === holder ? [{ type: 'NameReleased', data: { key, holder, at } }] : [];
  }
};

const evolve = (_state: ClaimState, event: ClaimEvent): ClaimState => {
  switch (event.type) {
    case 'NameClaimed':
      return { holder: event.data.holder, since: event.data.at };
    case 'NameReleased':
      return { holder: null, since: null };
  }
};

export const claimDecider: Decider<ClaimState, ClaimCommand, ClaimEvent> = {
  initialState: { holder: null, since: null },
  decide,
  evolve,
  // Each event tells the holder: claims are read from the newest one alone, however often a name changed hands.
  isWholeState: () => true,
};

export const claimEventVersions: Versions<ClaimEvent> = {
  NameClaimed: 1,
  NameReleased: 1,
};
