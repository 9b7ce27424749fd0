import type { SourceItem } from './ports.ts';
import type { AnyProjection } from './projection.ts';

/** The types that every projection which handles them is content to see a little later. */
export const patientTypes = (projections: readonly AnyProjection[]): ReadonlySet<string> => {
  const patient = new Set(projections.flatMap(({ patient: types = [] }) => types));
  for (const { on, patient: types = [] } of projections)
    for (const type of patient) if (on[type] && !types.includes(type)) patient.delete(type);
  return patient;
};

/** Rung by whoever waits for the read model; silent again once what was held back is on its way. */
export interface Bell {
  ring(): void;
  rung(): Promise<void>;
  silence(): void;
}

export const createBell = (): Bell => {
  let current = Promise.withResolvers<void>();
  return {
    ring: () => current.resolve(),
    rung: () => current.promise,
    silence: () => {
      current = Promise.withResolvers<void>();
    },
  };
};

type Patience = Readonly<{ types: ReadonlySet<string>; holdMs: number; maxEvents: number; bell: Bell }>;

type Events = Extract<SourceItem, { kind: 'events' }>;

const isPatient = (item: SourceItem, { types, maxEvents }: Patience): item is Events =>
  item.kind === 'events' &&
  item.unreadable === undefined &&
  item.events.length < maxEvents &&
  item.events.every(({ event }) => types.has(event.type));

/** One item ahead, and only when it is asked for: what is not taken stays with the source. */
const lookAhead = (items: AsyncIterator<SourceItem>) => {
  let coming: Promise<IteratorResult<SourceItem>> | undefined;
  return {
    next: () => {
      coming ??= items.next();
      return coming;
    },
    take: (): void => {
      coming = undefined;
    },
  };
};

/** The item together with all that follows it in time, up to and including the first that is not patient. */
const gather = async (first: Events, ahead: ReturnType<typeof lookAhead>, patience: Patience): Promise<Events> => {
  const { promise: over, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, patience.holdMs);
  try {
    let held = first;
    while (isPatient(held, patience)) {
      // A source that fails is told after what it gave before.
      const next = await Promise.race([ahead.next(), over, patience.bell.rung()]).catch(() => undefined);
      if (!next || next.done || next.value.kind !== 'events') break;
      ahead.take();
      held = { ...next.value, events: [...held.events, ...next.value.events] };
    }
    return held;
  } finally {
    clearTimeout(timer);
  }
};

/**
 * Holds batches of nothing but patient events for a moment, so that many become one transaction. Anything else that comes
 * takes them along at once, and so does the bell: nobody ever waits for what is held back.
 */
export async function* gatherPatient(
  source: AsyncIterable<SourceItem>,
  patience: Patience,
): AsyncGenerator<SourceItem> {
  const items = source[Symbol.asyncIterator]();
  const ahead = lookAhead(items);
  try {
    for (;;) {
      const result = await ahead.next();
      if (result.done) return;
      ahead.take();
      const { value } = result;
      const held = isPatient(value, patience) ? await gather(value, ahead, patience) : value;
      patience.bell.silence();
      yield held;
    }
  } finally {
    await items.return?.();
  }
}
