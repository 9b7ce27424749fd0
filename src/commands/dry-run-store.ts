import type { DomainEvent } from '#domain/decider.ts';
import type { RecordedEvent } from '#domain/recorded-event.ts';
import { type CommandContext, type EventStore, noEvents, RevisionConflict } from './ports.ts';

export type WouldAppend = Readonly<{ stream: string; event: DomainEvent }>;

export type DryRunStore = EventStore &
  Readonly<{
    /** Everything that was appended, in order. */
    appended: () => readonly WouldAppend[];
  }>;

/** As a store keeps it: through JSON. */
const stored = (data: object): object => JSON.parse(JSON.stringify(data)) as object;

/**
 * The log with what a command appends laid over it, in memory: later steps of the same command read it, nobody else does,
 * and it is gone with the request.
 */
export const createDryRunStore = (real: EventStore, now: () => string): DryRunStore => {
  const overlay = new Map<string, RecordedEvent[]>();
  const order: WouldAppend[] = [];

  const added = <E extends DomainEvent>(stream: string): readonly RecordedEvent<E>[] =>
    (overlay.get(stream) ?? []) as RecordedEvent<DomainEvent>[] as RecordedEvent<E>[];

  const headOf = async (stream: string): Promise<bigint> => {
    const newest = added(stream).at(-1);
    if (newest) return newest.revision;
    for await (const { revision } of real.readBackwards(stream)) return revision;
    return noEvents;
  };

  const append: EventStore['append'] = async (stream, events, expected, context: CommandContext) => {
    const head = await headOf(stream);
    if (head !== expected) throw new RevisionConflict(stream);
    const recorded = events.map((event, index): RecordedEvent => {
      const kept = { type: event.type, data: stored(event.data) };
      order.push({ stream, event: kept });
      return {
        ...{ event: kept, id: `dry-run-${order.length}`, stream, revision: head + BigInt(index) + 1n, position: 0n },
        ...{ recordedAt: now(), metadata: { by: context.actor, v: 1, $correlationId: context.correlationId } },
      };
    });
    overlay.set(stream, [...added(stream), ...recorded]);
    // No read model will ever pass it: 0 is behind all of them.
    return { revision: head + BigInt(events.length), position: 0n };
  };

  return {
    read: async <E extends DomainEvent>(stream: string, signal?: AbortSignal) => {
      const { events, revision } = await real.read<E>(stream, signal);
      const more = added<E>(stream);
      return { events: [...events, ...more], revision: more.at(-1)?.revision ?? revision };
    },
    readBackwards: async function* <E extends DomainEvent>(stream: string, signal?: AbortSignal) {
      yield* added<E>(stream).toReversed();
      yield* real.readBackwards<E>(stream, signal);
    },
    readForwards: async function* <E extends DomainEvent>(stream: string, from: bigint, signal?: AbortSignal) {
      yield* real.readForwards<E>(stream, from, signal);
      yield* added<E>(stream).filter(({ revision }) => revision >= from);
    },
    append,
    bound: async () => undefined,
    appended: () => order,
  };
};
