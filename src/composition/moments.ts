import { setTimeout as delay } from 'node:timers/promises';
import { DomainError } from '#domain/errors.ts';

/** Something that was built for a question about the past and answers the next one as well. */
type Kept = Readonly<{ isLost: () => boolean; close: () => Promise<void> }>;

export type MomentLimits = Readonly<{
  /** Kept at once, those that are being built included; each holds a connection to the database. */
  kept: number;
  /** Built at once; the others wait for their turn. */
  building: number;
  /** How long a question waits; the building goes on without it. */
  patienceMs: number;
  idleMs: number;
}>;

export const defaultMomentLimits: MomentLimits = { kept: 6, building: 2, patienceMs: 8_000, idleMs: 300_000 };

export interface Moments<T> {
  /**
   * Answers from the moment of that name, which is built first when there is none. Throws `history-not-ready` when that takes
   * too long or too much is under way; the same question later finds it built.
   */
  use<R>(key: string, build: (signal: AbortSignal) => Promise<T>, answer: (moment: T) => Promise<R>): Promise<R>;
  /** Gives everything back; questions under way are answered first. */
  close(): Promise<void>;
}

type Entry<T> = {
  readonly key: string;
  readonly ready: Promise<T>;
  value: T | undefined;
  users: number;
  usedAtMs: number;
  timer: NodeJS.Timeout | undefined;
  gone: Promise<void> | undefined;
};

const notReady = (why: string): DomainError =>
  new DomainError('history-not-ready', `${why}; ask again in a few seconds`);

/** At most so many at a time, in the order in which they came. */
const createTurns = (limit: number) => {
  const waiting: (() => void)[] = [];
  let running = 0;
  return async <T>(work: () => Promise<T>): Promise<T> => {
    if (running >= limit) await new Promise<void>((resolve) => waiting.push(resolve));
    else running += 1;
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else running -= 1;
    }
  };
};

export const createMoments = <T extends Kept>(limits: MomentLimits = defaultMomentLimits): Moments<T> => {
  const entries = new Map<string, Entry<T>>();
  const stop = new AbortController();
  const turn = createTurns(limits.building);

  /** Closed once nobody reads from it; one that is still being built ends with its build. */
  const drop = (entry: Entry<T>): Promise<void> => {
    if (entries.get(entry.key) === entry) entries.delete(entry.key);
    clearTimeout(entry.timer);
    if (entry.users > 0) return Promise.resolve();
    entry.gone ??= entry.ready.then(
      (moment) => moment.close(),
      () => undefined,
    );
    return entry.gone;
  };

  const release = (entry: Entry<T>): void => {
    entry.users -= 1;
    entry.usedAtMs = performance.now();
    if (entry.users > 0) return;
    if (entries.get(entry.key) !== entry) void drop(entry);
    else entry.timer = setTimeout(() => void drop(entry), limits.idleMs).unref();
  };

  /** The one that was not asked for the longest makes room; none does while all are asked or built. */
  const makeRoom = async (): Promise<void> => {
    if (entries.size < limits.kept) return;
    const [oldest] = [...entries.values()]
      .filter(({ users, value }) => users === 0 && value !== undefined)
      .toSorted((a, b) => a.usedAtMs - b.usedAtMs);
    if (!oldest) throw notReady('too many questions about the past are being answered');
    await drop(oldest);
  };

  const add = (key: string, build: (signal: AbortSignal) => Promise<T>): Entry<T> => {
    const ready = turn(async () => {
      stop.signal.throwIfAborted();
      return build(stop.signal);
    });
    const entry: Entry<T> = {
      ...{ key, ready, value: undefined, users: 0, usedAtMs: performance.now(), timer: undefined, gone: undefined },
    };
    entries.set(key, entry);
    ready.then(
      (moment) => {
        entry.value = moment;
      },
      () => drop(entry),
    );
    return entry;
  };

  const entryOf = async (key: string, build: (signal: AbortSignal) => Promise<T>): Promise<Entry<T>> => {
    const found = entries.get(key);
    if (found && !found.value?.isLost()) return found;
    if (found) await drop(found);
    await makeRoom();
    return entries.get(key) ?? add(key, build);
  };

  const inTime = async (ready: Promise<T>): Promise<T> => {
    const enough = new AbortController();
    const late = delay(limits.patienceMs, undefined, { signal: enough.signal, ref: false }).then(() => {
      throw notReady('what was at that time is still being read from the log');
    });
    try {
      return await Promise.race([ready, late]);
    } finally {
      late.catch(() => undefined);
      enough.abort();
    }
  };

  return {
    use: async (key, build, answer) => {
      stop.signal.throwIfAborted();
      const entry = await entryOf(key, build);
      entry.users += 1;
      clearTimeout(entry.timer);
      try {
        return await answer(await inTime(entry.ready));
      } finally {
        release(entry);
      }
    },
    close: async () => {
      stop.abort(new Error('the hub stops'));
      const all = [...entries.values()];
      await Promise.all(all.map((entry) => entry.ready.catch(() => undefined)));
      await Promise.all(all.map(drop));
    },
  };
};
