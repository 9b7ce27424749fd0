import type { EventIndexQueries, IndexedEvent } from '#projections/event-index.ts';

/** An event, or the request that began it all, with what it led to. */
export type Cause = {
  readonly id: string;
  /** Undefined for a request: it is no event. */
  readonly event: IndexedEvent | undefined;
  readonly actor: string;
  readonly time: string;
  children: Cause[];
  /** How many events it led to, shown or not. */
  total: number;
  /** How many of them are not among the children, and come after those. */
  hidden: number;
};

export type Limits = Readonly<{ depth: number; size: number; after: bigint }>;

type Index = Pick<EventIndexQueries, 'find' | 'causedBy' | 'countCausedBy'>;

/** Longer chains than this are a mistake of whoever wrote the log; it also ends a chain that runs in a circle. */
const maxChain = 100;

const ofEvent = (event: IndexedEvent): Cause => ({
  ...{ id: event.event_id, event, actor: event.actor, time: event.recorded_at, children: [], total: 0, hidden: 0 },
});

/** A request is known by what it led to: who sent it and when follow from the first of these events. */
const requestOf = async (index: Index, id: string): Promise<Cause | undefined> => {
  const [first] = await index.causedBy([id], 0n, 1);
  return (
    first && { id, event: undefined, actor: first.actor, time: first.recorded_at, children: [], total: 0, hidden: 0 }
  );
};

/** From the event up to what has no cause that is known, the nearest first. */
const chainUp = async (index: Index, from: IndexedEvent): Promise<readonly Cause[]> => {
  const chain: Cause[] = [];
  let causationId = from.causation_id;
  const seen = new Set([from.event_id]);
  while (causationId !== null && chain.length < maxChain && !seen.has(causationId)) {
    seen.add(causationId);
    const event = await index.find(causationId);
    const cause = event ? ofEvent(event) : await requestOf(index, causationId);
    if (!cause) break;
    chain.push(cause);
    causationId = event?.causation_id ?? null;
  }
  return chain;
};

/** Level by level, so that what is near comes before what is far when not everything may be shown. */
const growDown = async (index: Index, top: Cause, { depth, size, after }: Limits): Promise<void> => {
  let level = [top];
  let left = size;
  for (let down = 0; level.length > 0; down += 1) {
    const parents = new Map(level.map((cause) => [cause.id, cause]));
    const ids = [...parents.keys()];
    const from = down === 0 ? after : 0n;
    const counts = await index.countCausedBy(ids, 0n);
    for (const [id, parent] of parents) parent.total = counts.get(id) ?? 0;
    const found = down === depth || left === 0 ? [] : await index.causedBy(ids, from, left);
    level = found.map(ofEvent);
    for (const cause of level) parents.get(cause.event?.causation_id ?? '')?.children.push(cause);
    left -= level.length;
    if (level.length === 0 || left === 0) {
      const last = level.at(-1)?.event?.position;
      const rest = await index.countCausedBy(ids, last === undefined ? from : BigInt(last));
      for (const [id, parent] of parents) parent.hidden = rest.get(id) ?? 0;
    }
  }
};

/** The chain from the root to what was asked for, each with the next as its only child, and below that all it led to. */
export type Causes = Readonly<{ root: Cause; path: readonly string[]; asked: Cause }>;

/** Undefined for an id that neither is an event's nor led to one. */
export const causesOf = async (index: Index, id: string, limits: Limits): Promise<Causes | undefined> => {
  const event = await index.find(id);
  const asked = event ? ofEvent(event) : await requestOf(index, id);
  if (!asked) return undefined;
  const up = event ? await chainUp(index, event) : [];
  const counts = await index.countCausedBy(
    up.map((cause) => cause.id),
    0n,
  );
  let below = asked;
  for (const cause of up) {
    cause.children = [below];
    cause.total = counts.get(cause.id) ?? 1;
    below = cause;
  }
  await growDown(index, asked, limits);
  return { root: below, path: [...up.map((cause) => cause.id).reverse(), asked.id], asked };
};
