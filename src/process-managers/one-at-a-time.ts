/**
 * Looks at things by key: one look at a key at a time, different keys side by side up to `limit`. A look asked for while
 * one runs follows it once, however often it was asked for: looks are level-triggered, the last one sees everything.
 */
export interface Looks {
  request(key: string, cause: string | undefined): void;
  /** Keys that are being looked at or wait for it. */
  readonly open: number;
  /** Resolves when nothing runs or waits; requests after it are ignored. */
  close(): Promise<void>;
}

type Entry = { again: boolean; cause: string | undefined };

export const createLooks = (
  limit: number,
  look: (key: string, cause: string | undefined) => Promise<void>,
  onError: (key: string, error: unknown) => void,
): Looks => {
  const entries = new Map<string, Entry>();
  const waiting: string[] = [];
  let running = 0;
  let closed = false;
  const idle = Promise.withResolvers<void>();

  const run = async (key: string, entry: Entry): Promise<void> => {
    entry.again = false;
    try {
      await look(key, entry.cause);
    } catch (error) {
      onError(key, error);
    }
  };

  const finish = (key: string, entry: Entry): void => {
    running -= 1;
    if (entry.again && !closed) waiting.push(key);
    else entries.delete(key);
    pump();
  };

  const pump = (): void => {
    while (running < limit && waiting.length > 0) {
      const key = waiting.shift() as string;
      const entry = entries.get(key);
      if (!entry) continue;
      running += 1;
      void run(key, entry).then(() => finish(key, entry));
    }
    if (closed && running === 0) idle.resolve();
  };

  return {
    request: (key, cause) => {
      if (closed) return;
      const entry = entries.get(key);
      if (entry) {
        entry.again = true;
        entry.cause = cause ?? entry.cause;
        return;
      }
      entries.set(key, { again: false, cause });
      waiting.push(key);
      pump();
    },
    get open() {
      return entries.size;
    },
    close: async () => {
      closed = true;
      waiting.length = 0;
      if (running > 0) await idle.promise;
    },
  };
};
