import type { Metrics } from './registry.ts';

type Ended = Readonly<{
  method: string;
  route: string;
  status: number;
  durationMs: number;
  sentBytes: number;
  streamed: boolean;
}>;

const buckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];

/** Counts requests by the pattern of their route: as many series as the API has endpoints, whatever clients ask for. */
export const httpMetrics = (metrics: Metrics) => {
  const requests = metrics.counter({
    name: 'sendense_http_requests_total',
    help: 'Requests answered, by route pattern; "unmatched" is what no route fits',
    labels: ['method', 'route', 'status'],
  });
  const durations = metrics.histogram({
    name: 'sendense_http_request_duration_seconds',
    help: 'Time until the reply was written; streams, which last as long as their reader, are left out',
    labels: ['method', 'route'],
    buckets,
  });
  const sent = metrics.counter({
    name: 'sendense_http_response_bytes_total',
    help: 'Bytes of replies, counted when they end: downloads of files and disks are seen here, by their routes',
    labels: ['method', 'route'],
  });
  const inFlight = metrics.gauge({
    name: 'sendense_http_requests_in_flight',
    help: 'Requests being served now, open streams included',
  });
  inFlight.set(0);
  return {
    observe: (_request: object, run: () => void) => {
      inFlight.inc();
      run();
      return ({ method, route, status, durationMs, sentBytes, streamed }: Ended): void => {
        inFlight.dec();
        requests.inc({ method, route, status: String(status) });
        sent.inc({ method, route }, sentBytes);
        if (!streamed) durations.observe({ method, route }, durationMs / 1000);
      };
    },
  };
};
