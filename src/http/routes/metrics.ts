import { type RequestHandler, Router } from 'express';
import { isLocalProgram } from '../auth.ts';
import type { AllowedOrigins } from '../cors.ts';
import { HttpProblem } from '../errors.ts';
import { isOwnHost } from '../origin.ts';
import type { Authenticate } from '../serve.ts';

/** How the numbers are written: what Prometheus has always read, or what became a standard of it. */
export type MetricsFormat = 'prometheus' | 'openmetrics';

export interface MetricsSource {
  /** All numbers as of now. Never throws for a part that cannot be asked: that part says so in a number of its own. */
  render(format: MetricsFormat): Promise<string>;
}

export type MetricsPageDeps = Readonly<{
  metrics: MetricsSource;
  /** `loopback`: programs of this host need no token; `token`: everybody does. */
  access: 'loopback' | 'token';
  authenticate: Authenticate;
  cors: AllowedOrigins;
}>;

const contentTypes: Readonly<Record<MetricsFormat, string>> = {
  prometheus: 'text/plain; version=0.0.4; charset=utf-8',
  openmetrics: 'application/openmetrics-text; version=1.0.0; charset=utf-8',
};

/** `GET /metrics`. It names virtual machines and repositories, hence not for everybody. */
export const metricsPage = (deps: MetricsPageDeps): Router => {
  const router = Router({ strict: true });
  router.get('/metrics', admit(deps), async (request, response) => {
    const format = formatOf(request.get('accept'));
    const text = await deps.metrics.render(format);
    if (response.destroyed) return;
    // Not through Express, which would write the content type anew.
    response.writeHead(200, { 'content-type': contentTypes[format], 'cache-control': 'no-store' }).end(text);
  });
  return router;
};

const admit =
  ({ access, authenticate, cors }: MetricsPageDeps): RequestHandler =>
  async (request, _response, next) => {
    const local = isLocalProgram(request) && isOwnHost(request, cors) && !isForwarded(request);
    const tokenless = access === 'loopback' && request.get('authorization') === undefined;
    if (!(local && tokenless)) await authenticate(request, 'required');
    next();
  };

/** A proxy on this host connects from loopback on behalf of anybody. */
const isForwarded: (request: Parameters<RequestHandler>[0]) => boolean = (request) =>
  ['forwarded', 'x-forwarded-for', 'x-real-ip', 'via'].some((name) => request.get(name) !== undefined);

/** OpenMetrics for who asks for it before plain text, as Prometheus does; text for everybody else. */
const formatOf = (accept: string | undefined): MetricsFormat => {
  const wanted = (accept ?? '')
    .split(',')
    .map(preference)
    .toSorted((a, b) => b.quality - a.quality);
  const first = wanted.find(({ type, quality }) => quality > 0 && (type === openMetrics || textTypes.has(type)));
  return first?.type === openMetrics ? 'openmetrics' : 'prometheus';
};

const openMetrics = 'application/openmetrics-text';
const textTypes: ReadonlySet<string> = new Set(['text/plain', 'text/*', '*/*']);

const preference = (part: string): Readonly<{ type: string; quality: number }> => {
  const [type = '', ...parameters] = part.split(';').map((piece) => piece.trim().toLowerCase());
  const version = parameters.find((parameter) => parameter.startsWith('version='));
  // The other versions of OpenMetrics are not spoken here.
  const spoken = type !== openMetrics || version === undefined || /^version="?(1\.0\.0|0\.0\.1)"?$/.test(version);
  const quality = Number(parameters.find((parameter) => parameter.startsWith('q='))?.slice(2) ?? 1);
  return { type, quality: spoken && Number.isFinite(quality) ? quality : 0 };
};

/** In place of the page where it is switched off. */
export const noMetricsPage = (): Router =>
  Router({ strict: true }).get('/metrics', () => {
    const message = 'Metrics are switched off; SENDENSE_METRICS=loopback or token turns them on';
    throw new HttpProblem({ status: 404, code: 'metrics-off', message });
  });
