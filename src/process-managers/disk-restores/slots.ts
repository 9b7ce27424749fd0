/** So many at a time; the others wait in the order in which they came. */
export interface Slots {
  /** Returns how to leave; throws the signal's reason when that aborts first. */
  enter(signal: AbortSignal): Promise<() => void>;
}

export const createSlots = (count: number): Slots => {
  let free = count;
  const waiting: (() => void)[] = [];
  const leave = (): void => {
    const next = waiting.shift();
    if (next) next();
    else free += 1;
  };
  const wait = async (signal: AbortSignal): Promise<void> => {
    const turn = Promise.withResolvers<void>();
    const giveUp = (): void => {
      const place = waiting.indexOf(turn.resolve);
      if (place < 0) return; // its turn has come already
      waiting.splice(place, 1);
      turn.reject(signal.reason);
    };
    waiting.push(turn.resolve);
    signal.addEventListener('abort', giveUp, { once: true });
    try {
      await turn.promise;
    } finally {
      signal.removeEventListener('abort', giveUp);
    }
  };
  return {
    enter: async (signal) => {
      signal.throwIfAborted();
      if (free > 0) free -= 1;
      else await wait(signal);
      return leave;
    },
  };
};
