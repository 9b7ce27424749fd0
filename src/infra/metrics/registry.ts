import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import { clearGauge, createScraper, type MetricSource, type MetricsLog } from './scrape.ts';

type Named<L extends string> = Readonly<{ name: string; help: string; labels?: readonly L[] }>;

/** All numbers of this program, and what they are read from when somebody asks. */
export interface Metrics {
  counter<L extends string = never>(definition: Named<L>): Counter<L>;
  /** Without a value until one is set: what is not known is left out, not zero. */
  gauge<L extends string = never>(definition: Named<L>): Gauge<L>;
  histogram<L extends string = never>(definition: Named<L> & Readonly<{ buckets: readonly number[] }>): Histogram<L>;
  /** Is asked at every scrape, beside all others and for a limited time. For parts that come later as well. */
  addSource<Facts>(source: MetricSource<Facts>): void;
  render(format: 'prometheus' | 'openmetrics'): Promise<string>;
}

export const createMetrics = (
  options: Readonly<{ log: MetricsLog; sourceTimeoutMs?: number; version: string }>,
): Metrics => {
  const registry = new Registry();
  const common = <L extends string>({ name, help, labels = [] }: Named<L>) => ({
    ...{ name, help },
    labelNames: [...labels],
    registers: [registry],
  });
  const gauge = <L extends string>(definition: Named<L>): Gauge<L> => {
    const made = new Gauge<L>(common(definition));
    clearGauge(made);
    return made;
  };
  const scraper = createScraper({
    ...{ log: options.log, timeoutMs: options.sourceTimeoutMs ?? 1_500 },
    error: gauge({
      name: 'sendense_scrape_error',
      help: 'Whether a source of metrics could not be read at this scrape (1) or could (0)',
      labels: ['source'],
    }),
    duration: gauge({
      name: 'sendense_scrape_duration_seconds',
      help: 'How long it took to read a source of metrics at this scrape',
      labels: ['source'],
    }),
  });
  gauge({
    name: 'sendense_build_info',
    help: 'Always 1; the labels tell what runs here',
    labels: ['version', 'node_version'],
  }).set({ version: options.version, node_version: process.versions.node }, 1);
  // They watch the event loop and the garbage collector from then on: only where somebody reads them.
  let watchesProcess = false;
  return {
    gauge,
    counter: (definition) => new Counter(common(definition)),
    histogram: (definition) => new Histogram({ ...common(definition), buckets: [...definition.buckets] }),
    addSource: scraper.add,
    render: async (format) => {
      if (!watchesProcess) collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: 20 });
      watchesProcess = true;
      await scraper.scrape();
      const text = await registry.metrics();
      return format === 'openmetrics' ? toOpenMetrics(text) : text;
    },
  };
};

/**
 * The library writes OpenMetrics too, but renames its counters for it for good. The difference is small: a counter's family
 * lacks the `_total` of its samples, no blank lines, and an end (openmetrics.io, 1.0.0).
 */
export const toOpenMetrics = (text: string): string => {
  const lines = text.split('\n').filter((line) => line !== '');
  const counters = new Set(lines.flatMap((line) => /^# TYPE (\S+)_total counter$/.exec(line)?.[1] ?? []));
  const written = lines.map((line) => {
    const [, keyword, family, rest] = /^# (HELP|TYPE) (\S+)_total (.*)$/.exec(line) ?? [];
    return family !== undefined && counters.has(family) ? `# ${keyword} ${family} ${rest}` : line;
  });
  return `${written.join('\n')}\n# EOF\n`;
};
