import type { Decider } from '../decider.ts';
import { type ChainHead, type Digest, sealAll } from './chain.ts';
import { type AuditEntry, tidyEntry } from './entry.ts';
import type { AuditDayBegun, AuditEvent } from './events.ts';

export type AuditDayState = Readonly<{
  /** Null for a day without entries: it goes on where the day before ended. */
  head: ChainHead | null;
  closed: boolean;
}>;

/** `start`: where the day before ended, for a stream that is still empty. */
export type AuditDayCommand =
  | Readonly<{
      type: 'RecordBatch';
      data: Readonly<{ day: string; entries: readonly AuditEntry[]; start: ChainHead }>;
    }>
  | Readonly<{ type: 'CloseDay'; data: Readonly<{ day: string; nextDay: string; start: ChainHead; at: string }> }>;

const evolve = (_state: AuditDayState, event: AuditEvent): AuditDayState => {
  switch (event.type) {
    case 'AuditBatchRecorded':
      return { head: { hash: event.data.hash, count: event.data.entries.at(-1)?.n ?? 0 }, closed: false };
    case 'AuditDayClosed':
      return { head: { hash: event.data.hash, count: event.data.count }, closed: true };
  }
};

/** One day of the trail. A closed day takes nothing more; the caller sees that nothing was decided and goes to the next. */
export const auditDayDecider = (digest: Digest): Decider<AuditDayState, AuditDayCommand, AuditEvent> => ({
  initialState: { head: null, closed: false },
  decide: ({ type, data }, state) => {
    if (state.closed) return [];
    const head = state.head ?? data.start;
    const { day } = data;
    if (type === 'CloseDay') {
      return [{ type: 'AuditDayClosed', data: { day, nextDay: data.nextDay, ...head, at: data.at } }];
    }
    if (data.entries.length === 0) return [];
    const { sealed, head: after } = sealAll(data.entries.map(tidyEntry), head, digest);
    const batch = { day, entries: sealed, previousHash: head.hash, hash: after.hash };
    return [{ type: 'AuditBatchRecorded', data: batch }];
  },
  evolve,
  isWholeState: () => true,
});

export type AuditDaysState = Readonly<{ day: string | null; start: ChainHead | null }>;

export type BeginDay = Readonly<{
  type: 'BeginDay';
  data: Readonly<{ day: string; previousDay: string | null; start: ChainHead; at: string }>;
}>;

/** Days only go forward: a hub whose clock is behind writes into the newest day. */
export const auditDaysDecider: Decider<AuditDaysState, BeginDay, AuditDayBegun> = {
  initialState: { day: null, start: null },
  decide: ({ data }, state) => {
    if (state.day !== null && data.day <= state.day) return [];
    const { day, previousDay, start, at } = data;
    const begun = { day, previousDay, previousHash: start.hash, previousCount: start.count, at };
    return [{ type: 'AuditDayBegun', data: begun }];
  },
  evolve: (_state, { data }) => ({
    day: data.day,
    start: { hash: data.previousHash, count: data.previousCount },
  }),
  isWholeState: () => true,
};
