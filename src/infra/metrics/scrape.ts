import type { Gauge } from 'prom-client';

export type MetricsLog = Readonly<{ warn: (fields: object, message: string) => void }>;

/** Facts that are read when somebody asks, and the gauges that show them. */
export type MetricSource<Facts> = Readonly<{
  name: string;
  /** Emptied before each writing, and when the facts cannot be read: old numbers look like new ones. */
  gauges: readonly Gauge<string>[];
  /** May be slow or throw. The signal aborts when nobody waits any more. */
  read: (signal: AbortSignal) => Promise<Facts>;
  write: (facts: Facts) => void;
  /** For what a failure itself tells: that something is down. */
  failed?: () => void;
}>;

type Deps = Readonly<{
  timeoutMs: number;
  error: Gauge<'source'>;
  duration: Gauge<'source'>;
  log: MetricsLog;
}>;

class TooSlow extends Error {}

/** One without labels begins at zero, and goes back to it, unless it is taken out. */
export const clearGauge = (gauge: Gauge<string>): void => {
  gauge.reset();
  gauge.remove({});
};

/** Asks all sources side by side. One that fails or is slow takes only its own numbers with it. */
export const createScraper = ({ timeoutMs, error, duration, log }: Deps) => {
  const scrapes: (() => Promise<void>)[] = [];
  let underWay: Promise<void> | undefined;

  const add = <Facts>(source: MetricSource<Facts>): void => {
    let failing = false;
    // One that hangs is not asked again until it has answered: questions must not pile up.
    let hanging = false;
    const read = async (): Promise<Facts> => {
      if (hanging) throw new TooSlow(`${source.name} has not answered the question before`);
      const signal = AbortSignal.timeout(timeoutMs);
      hanging = true;
      const answer = Promise.try(source.read, signal).finally(() => {
        hanging = false;
      });
      return withinTime(answer, source.name, signal);
    };
    scrapes.push(async () => {
      const startedAtMs = performance.now();
      const outcome = await read().then(
        (facts) => ({ facts }),
        (cause: unknown) => ({ cause }),
      );
      duration.set({ source: source.name }, (performance.now() - startedAtMs) / 1000);
      for (const gauge of source.gauges) clearGauge(gauge);
      error.set({ source: source.name }, 'facts' in outcome ? 0 : 1);
      if ('facts' in outcome) source.write(outcome.facts);
      else {
        source.failed?.();
        if (!failing) log.warn({ err: outcome.cause, source: source.name }, 'metrics cannot be read');
      }
      failing = !('facts' in outcome);
    });
  };

  return {
    add,
    /** Scrapes at the same time share one. */
    scrape: (): Promise<void> => {
      underWay ??= Promise.all(scrapes.map((scrape) => scrape())).then(() => {
        underWay = undefined;
      });
      return underWay;
    },
  };
};

const withinTime = async <T>(answer: Promise<T>, name: string, signal: AbortSignal): Promise<T> => {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(new TooSlow(`${name} did not answer in time`));
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([answer, late]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
};
