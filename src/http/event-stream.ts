/** Something happened to a job. `position` is the log's: a reader that names it goes on right behind it. */
export type JobChange = Readonly<{ position: bigint; type: string; data: object }>;

/**
 * Changes of jobs in the order of the log. A slow reader must not make it hold more than a bounded number of them; it may
 * read the log again instead. Ends when the signal aborts; throws when it cannot go on: readers then come back.
 */
export interface JobChangeFeed {
  /** Everything after `from`, then what happens from now on; `end`: only the latter. */
  subscribe(from: bigint | 'end', signal: AbortSignal): AsyncIterable<JobChange>;
}

export type FrameOptions = Readonly<{
  from: bigint | 'end';
  heartbeatMs: number;
  signal: AbortSignal;
}>;

/**
 * The feed as server-sent events until the signal aborts (leaving the loop alone does not end the feed), with a comment when it
 * is quiet for long, so that proxies do not take it for dead.
 */
export const eventFrames = async function* (feed: JobChangeFeed, options: FrameOptions): AsyncGenerator<string> {
  const { from, heartbeatMs, signal } = options;
  const next = patientReader(feed.subscribe(from, signal), signal);
  // A browser waits that long before it comes back after a break.
  yield 'retry: 3000\n\n';
  for (;;) {
    const read = await next(heartbeatMs);
    if (read === 'ended') return;
    yield read === 'quiet' ? ': heartbeat\n\n' : frameOf(read);
  }
};

/** JSON text has no line breaks of its own, so one data line holds it. */
const frameOf = ({ position, type, data }: JobChange): string =>
  `id: ${position}\nevent: ${type}\ndata: ${JSON.stringify(data)}\n\n`;

type Read = JobChange | 'quiet' | 'ended';

/**
 * Reads one change ahead at most and can be asked again after a quiet while. It waits by a callback instead of
 * `Promise.race`, which would hang one more reaction on the pending read with each heartbeat of a quiet night.
 */
const patientReader = (changes: AsyncIterable<JobChange>, signal: AbortSignal): ((waitMs: number) => Promise<Read>) => {
  const iterator = changes[Symbol.asyncIterator]();
  let pending = false;
  let arrived: (() => Read) | undefined;
  let wake = (): void => {};

  const arrive = (take: () => Read): void => {
    pending = false;
    arrived = take;
    wake();
  };
  const pull = (): void => {
    pending = true;
    iterator.next().then(
      (result) => arrive(() => (result.done ? 'ended' : result.value)),
      (error: unknown) =>
        arrive(() => {
          throw error;
        }),
    );
  };
  signal.addEventListener('abort', () => wake(), { once: true });

  return async (waitMs) => {
    if (!pending && arrived === undefined) pull();
    if (arrived === undefined && !signal.aborted) await untilWoken(waitMs, (resolve) => (wake = resolve));
    if (signal.aborted) return 'ended';
    const take = arrived ?? ((): Read => 'quiet');
    arrived = undefined;
    return take();
  };
};

const untilWoken = async (waitMs: number, onWake: (resolve: () => void) => void): Promise<void> => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, waitMs);
  onWake(resolve);
  await promise;
  clearTimeout(timer);
};
