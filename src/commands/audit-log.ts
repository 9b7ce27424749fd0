import type { ChainHead, Digest } from '#domain/audit/chain.ts';
import { emptyChain } from '#domain/audit/chain.ts';
import { auditDayDecider, auditDaysDecider } from '#domain/audit/decide.ts';
import type { AuditEntry } from '#domain/audit/entry.ts';
import type { AuditEvent } from '#domain/audit/events.ts';
import { streamOf } from '#domain/streams.ts';
import type { AuditAnchor } from './audit-ports.ts';
import { handle, type Loaded, load } from './handle.ts';
import { type Clock, type CommandContext, type EventStore, type Ids, RevisionConflict } from './ports.ts';

type Deps = Readonly<{ store: EventStore; clock: Clock; ids: Ids; digest: Digest }>;
type DayState = ReturnType<ReturnType<typeof auditDayDecider>['evolve']>;
type Day = Readonly<{ day: string; start: ChainHead; loaded: Loaded<DayState> }>;

/** More lost races than hubs that can be meant to write one trail. */
const maxAttempts = 50;

/** Events looked through for entries of which it is unknown whether they were written. */
const searched = 50;

/**
 * The trail as streams of days. Several hubs write it: each append expects the revision that its hash was computed on, so
 * the chain has one end. What was seen last is remembered: one append a batch, no read.
 */
export const createAuditLog = ({ store, clock, ids, digest }: Deps) => {
  const decider = auditDayDecider(digest);
  let current: Day | undefined;
  let newestPosition: bigint | undefined;

  const contextOf = (): CommandContext => {
    const commandId = ids.uuid();
    return { actor: 'process:audit', correlationId: commandId, commandId };
  };

  const loadDay = async (day: string, start: ChainHead): Promise<Day> => ({
    ...{ day, start },
    loaded: await load(store, decider, streamOf.audit(day)),
  });

  const days = { decider: auditDaysDecider, stream: streamOf.auditDays() };

  const newestDay = async (): Promise<Day | undefined> => {
    const { state } = await load(store, days.decider, days.stream);
    return state.day !== null && state.start ? loadDay(state.day, state.start) : undefined;
  };

  /** Closes the day before, then begins this one; each step is content with having been done by another hub. */
  const beginDay = async (day: string, before: Day | undefined): Promise<Day> => {
    const at = clock.now();
    let start = before?.start ?? emptyChain;
    if (before) {
      const target = { decider, stream: streamOf.audit(before.day) };
      const data = { day: before.day, nextDay: day, start: before.start, at };
      start = (await handle(store, target, { type: 'CloseDay', data }, contextOf())).state.head ?? start;
    }
    const previousDay = before?.day ?? null;
    await handle(store, days, { type: 'BeginDay', data: { day, previousDay, start, at } }, contextOf());
    // Another hub may have begun a later one.
    return (await newestDay()) ?? loadDay(day, start);
  };

  const dayFor = async (today: string): Promise<Day> => {
    const known = current ?? (await newestDay());
    // A clock that is behind writes into the newest day there is.
    return known && known.day >= today && !known.loaded.state.closed ? known : beginDay(nextAfter(known, today), known);
  };

  const appendTo = async (
    { day, start, loaded }: Day,
    entries: readonly AuditEntry[],
    context: CommandContext,
  ): Promise<void> => {
    const { state, revision } = loaded;
    const batch = decider.decide({ type: 'RecordBatch', data: { day, entries, start } }, state);
    const written = await store.append(streamOf.audit(day), batch, revision, context);
    newestPosition = written.position;
    current = {
      ...{ day, start },
      loaded: { state: batch.reduce(decider.evolve, state), revision: written.revision, depth: 1 },
    };
  };

  return {
    /** Appends a batch. After an error it may or may not be written: see `holds`. */
    append: async (entries: readonly AuditEntry[]): Promise<void> => {
      const context = contextOf();
      for (let attempt = 1; ; attempt += 1) {
        const day = await dayFor(clock.now().slice(0, 10));
        current = undefined;
        try {
          return await appendTo(day, entries, context);
        } catch (error) {
          if (!(error instanceof RevisionConflict) || attempt === maxAttempts) throw error;
        }
      }
    },

    /** Of the newest batch that this program wrote: for a reader of its own writes. */
    position: (): bigint | undefined => newestPosition,

    /** Whether an entry of that id is among the newest. */
    holds: async (entryId: string): Promise<boolean> => {
      const newest = await newestDay();
      let left = searched;
      if (!newest) return false;
      for await (const { event } of store.readBackwards<AuditEvent>(streamOf.audit(newest.day))) {
        if (event.type === 'AuditBatchRecorded' && event.data.entries.some(({ id }) => id === entryId)) return true;
        left -= 1;
        if (left === 0) break;
      }
      return false;
    },

    /** Where the trail stands, to be written down elsewhere; undefined before its first entry. */
    anchor: async (): Promise<AuditAnchor | undefined> => {
      const { state } = await load(store, days.decider, days.stream);
      for (let day = state.day; day !== null; day = await dayBefore(store, day)) {
        for await (const recorded of store.readBackwards<AuditEvent>(streamOf.audit(day))) {
          const { event, stream, revision, position } = recorded;
          if (event.type !== 'AuditBatchRecorded') continue;
          const { head } = decider.evolve(decider.initialState, event);
          if (head) return { stream, revision: `${revision}`, position: `${position}`, ...head, at: clock.now() };
        }
      }
      return undefined;
    },
  };
};

export type AuditLog = ReturnType<typeof createAuditLog>;

/** Of a day that ended before its time (a clock jumped back) the next one is taken. */
const nextAfter = (known: Day | undefined, today: string): string => {
  if (!known || known.day < today) return today;
  const next = new Date(Date.parse(`${known.day}T00:00:00Z`) + 24 * 3600 * 1000);
  return next.toISOString().slice(0, 10);
};

/** A day may be without entries: its hub died between beginning it and the first. */
const dayBefore = async (store: EventStore, day: string): Promise<string | null> => {
  type Begun = Parameters<(typeof auditDaysDecider)['evolve']>[1];
  for await (const { event } of store.readBackwards<Begun>(streamOf.auditDays())) {
    if (event.data.day === day) return event.data.previousDay;
  }
  return null;
};
